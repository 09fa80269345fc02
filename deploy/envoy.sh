#!/usr/bin/env bash
# Envoy in a container: `envoy run OPTIONS`, `envoy ready`. Rule: needs what the official image has, bash without curl.
# Envoy alone cuts what is under way at SIGTERM; this lets it finish.
set -eu
ADMIN=/dev/tcp/127.0.0.1/9901

ask() { # METHOD PATH → the answer
  exec 3<>"$ADMIN" && printf '%s %s HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n' "$1" "$2" >&3 && cat <&3 && exec 3>&-
} 2>/dev/null

busy() { ask GET '/stats?filter=^http.ai_proxy.downstream_rq_active$' | grep -q 'downstream_rq_active: [1-9]'; }

drain() {
  ask POST '/drain_listeners?graceful&skip_exit' >/dev/null || true
  for ((i = 0; i < ${DRAIN_SECONDS:-30} * 4; i++)); do
    busy || break
    sleep 0.25
  done
  kill "$envoy"
}

case $1 in
  ready) ask GET /ready | grep -q LIVE ;;
  run)
    envoy "${@:2}" &
    envoy=$!
    trap 'drain &' TERM INT
    until wait "$envoy"; status=$?; ! kill -0 "$envoy" 2>/dev/null; do :; done
    exit "$status"
    ;;
esac
