{{- /* What a schema cannot say: each is a sentence with the next step. Included by the Deployment. */ -}}

{{- define "ai-proxy.checks" -}}
{{- $values := .Values -}}
{{- $cluster := .Capabilities.KubeVersion.Version -}}
{{- /* Not `kubeVersion` in Chart.yaml: a helm from `go install` takes v1.20.0 for the version where there is no cluster. */ -}}
{{- if and (eq .Values.mode "sidecar") (ne $cluster "v1.20.0") (semverCompare "<1.29.0-0" $cluster) -}}
  {{- fail (printf "\n\nmode: sidecar needs Kubernetes 1.29, and this is %s: a sidecar has to start before Envoy and end after it.\nSet mode: separate, with an Envoy of your own.\n" $cluster) -}}
{{- end -}}
{{- if eq .Values.mode "separate" -}}
  {{- if not (or .Values.tls.existingSecret (and .Values.networkPolicy.enabled .Values.networkPolicy.from)) -}}
    {{- fail "\n\nmode: separate needs to know who may come in, for whoever reaches the gRPC port can make it show your vendors' keys.\nSay which pods are your gateway (networkPolicy.from), or set tls.existingSecret for mutual TLS.\n" -}}
  {{- end -}}
{{- else if .Values.tls.existingSecret -}}
  {{- fail "\n\ntls.existingSecret is for mode: separate: in one pod Envoy and the sidecar share a Unix socket, which needs no TLS.\nLeave it away, or set mode: separate.\n" -}}
{{- end -}}
{{- if and (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) .Values.autoscaling.enabled -}}
  {{- fail (printf "\n\nautoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d).\n" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if not .Values.existingConfigMap -}}
  {{- include "ai-proxy.noKeys" (dict "values" $values "at" "config" "in" .Values.config) -}}
  {{- range $i, $client := .Values.config.clients -}}
    {{- include "ai-proxy.noKey" (dict "values" $values "at" (printf "config.clients[%d].key" $i) "keys" (get $client "key")) -}}
  {{- end -}}
  {{- with .Values.config.redis -}}
    {{- if regexMatch "//[^/@]*:[^/@$][^/@]*@" (.url | default "") -}}
      {{- fail "\n\nconfig.redis.url has a password in it, and a ConfigMap is no place for it.\nWrite redis://user:${REDIS_PASSWORD}@host, and take the variable from a Secret with extraEnv.\n" -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* No key itself; and where the chart makes the Secret, every file is in it. `keys`: one text or a list. */ -}}
{{- define "ai-proxy.noKey" -}}
{{- $keys := ternary .keys (list .keys) (kindIs "slice" .keys) -}}
{{- $at := .at -}}
{{- $values := .values -}}
{{- range $key := $keys -}}
  {{- if and $key (not (regexMatch "^\\s*(file:|[$][{]|sha256:)" $key)) -}}
    {{- fail (printf "\n\n%s holds a key itself, and a ConfigMap is no place for it.\nPut it into a Secret (keys.existingSecret) under a name and write file:../keys/NAME here.\n" $at) -}}
  {{- end -}}
  {{- $name := trimPrefix "file:../keys/" ($key | default "") -}}
  {{- if and $values.keys.values (hasPrefix "file:../keys/" ($key | default "")) (not (hasKey $values.keys.values $name)) -}}
    {{- fail (printf "\n\n%s is file:../keys/%s, but keys.values has no %s. It has: %s.\n" $at $name $name (keys $values.keys.values | sortAlpha | join ", ")) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* No provider's key itself, wherever providers are (a Higress document has them deeper). */ -}}
{{- define "ai-proxy.noKeys" -}}
{{- $here := . -}}
{{- if kindIs "map" .in -}}
  {{- range $key, $value := .in -}}
    {{- $at := printf "%s.%s" $here.at $key -}}
    {{- if has $key (list "apiToken" "apiTokens") -}}
      {{- include "ai-proxy.noKey" (dict "values" $here.values "at" $at "keys" $value) -}}
    {{- else -}}
      {{- include "ai-proxy.noKeys" (dict "values" $here.values "at" $at "in" $value) -}}
    {{- end -}}
  {{- end -}}
{{- else if kindIs "slice" .in -}}
  {{- range $i, $value := .in -}}
    {{- include "ai-proxy.noKeys" (dict "values" $here.values "at" (printf "%s[%d]" $here.at $i) "in" $value) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
