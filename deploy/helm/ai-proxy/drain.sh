# SIGTERM would cut every open answer. So: say "not ready", let the news spread, take no more, wait for the last answer.
admin() {
  exec 3<>/dev/tcp/127.0.0.1/9901 && printf '%s %s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n' "$1" "$2" >&3 && cat <&3
}
admin POST /healthcheck/fail >/dev/null
sleep 5
admin POST /drain_listeners >/dev/null
while [ "$SECONDS" -lt {{ .Values.drainSeconds }} ] &&
  ! admin GET '/stats?filter=http.ai_proxy.downstream_rq_active$' | grep -q 'active: 0'; do sleep 1; done
