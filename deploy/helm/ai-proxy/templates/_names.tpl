{{- define "ai-proxy.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ai-proxy.fullname" -}}
{{- $name := include "ai-proxy.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "ai-proxy.selector" -}}
app.kubernetes.io/name: {{ include "ai-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ai-proxy.labels" -}}
{{ include "ai-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ ternary "gateway" "extproc" (eq .Values.mode "sidecar") }}
{{- end -}}

{{- define "ai-proxy.configMap" -}}
{{- .Values.existingConfigMap | default (printf "%s-config" (include "ai-proxy.fullname" .)) -}}
{{- end -}}

{{- define "ai-proxy.keys" -}}
{{- if .Values.keys.values -}}{{ include "ai-proxy.fullname" . }}-keys{{- else -}}{{ .Values.keys.existingSecret }}{{- end -}}
{{- end -}}

{{- define "ai-proxy.host" -}}
{{ include "ai-proxy.fullname" . }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end -}}
