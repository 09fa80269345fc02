{{- define "ai-proxy.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "ai-proxy.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- define "ai-proxy.extproc" -}}
- name: extproc
  {{- include "ai-proxy.image" . | nindent 2 }}
  {{- if eq .Values.mode "sidecar" }}
  restartPolicy: Always # starts before Envoy and ends after it
  {{- end }}
  args:
    - serve
    - --config=/etc/ai-proxy/config/gateway.yaml
    {{- if eq .Values.mode "sidecar" }}
    - --listen=unix:/run/ai-proxy/extproc.sock
    - --xds-dir=/run/ai-proxy/xds
    {{- else }}
    - --listen=0.0.0.0:9000
    {{- end }}
    {{- if .Values.tls.existingSecret }}
    - --tls-cert=/etc/ai-proxy/tls/tls.crt
    - --tls-key=/etc/ai-proxy/tls/tls.key
    - --tls-client-ca=/etc/ai-proxy/tls/ca.crt
    {{- end }}
    - --admin=0.0.0.0:8081
    {{- if .Values.metrics.serviceMonitor.enabled }}
    - --metrics=0.0.0.0:9464
    {{- end }}
    {{- if not .Values.console }}
    - --no-console
    {{- end }}
    - --workers={{ .Values.workers }}
    - --drain-seconds={{ .Values.drainSeconds }}
    - --log-format=json
    - --log-level={{ .Values.logLevel }}
  {{- with .Values.extraEnv }}
  env: {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: admin, containerPort: 8081}
    {{- if .Values.metrics.serviceMonitor.enabled }}
    - {name: metrics, containerPort: 9464}
    {{- end }}
    {{- if eq .Values.mode "separate" }}
    {{- range $i := until (int .Values.workers) }}
    - {name: grpc-{{ $i }}, containerPort: {{ add 9000 $i }}}
    {{- end }}
    {{- end }}
  startupProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1, failureThreshold: 120}
  readinessProbe: {httpGet: {path: /readyz, port: admin}, periodSeconds: 2, failureThreshold: 2}
  livenessProbe:
    httpGet: {path: /healthz, port: admin}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
    terminationGracePeriodSeconds: 10 # whoever hangs does not drain
  resources: {{- toYaml .Values.resources.extproc | nindent 4 }}
  securityContext: {{- include "ai-proxy.hardened" . | nindent 4 }}
  volumeMounts:
    {{- include "ai-proxy.files" . | nindent 4 }}
    {{- if .Values.tls.existingSecret }}
    - {name: tls, mountPath: /etc/ai-proxy/tls, readOnly: true}
    {{- end }}
    {{- if eq .Values.mode "sidecar" }}
    - {name: run, mountPath: /run/ai-proxy}
    {{- end }}
{{- end -}}

{{- define "ai-proxy.files" -}}
- {name: config, mountPath: /etc/ai-proxy/config, readOnly: true}
- {name: keys, mountPath: /etc/ai-proxy/keys, readOnly: true}
{{- end -}}

{{- /* Writes what Envoy starts with. It needs no keys. */ -}}
{{- define "ai-proxy.bootstrap" -}}
- name: bootstrap
  {{- include "ai-proxy.image" . | nindent 2 }}
  command: [sh, -ec, 'extproc "$@" > /run/ai-proxy/envoy.yaml', extproc]
  args:
    - envoy
    - --config=/etc/ai-proxy/config/gateway.yaml
    - --listen=0.0.0.0:8080
    - --envoy-admin=127.0.0.1:9901
    - --envoy-stats=0.0.0.0:9902
    - --sidecar=unix:/run/ai-proxy/extproc.sock
    - --workers={{ .Values.workers }}
    - --xds-dir=/run/ai-proxy/xds
    - --placement={{ .Values.placement }}
    - --ca-file=/etc/ssl/certs/ca-certificates.crt
    - --no-validate
  resources: {{- toYaml .Values.resources.extproc | nindent 4 }}
  securityContext: {{- include "ai-proxy.hardened" . | nindent 4 }}
  volumeMounts:
    - {name: config, mountPath: /etc/ai-proxy/config, readOnly: true}
    - {name: run, mountPath: /run/ai-proxy}
{{- end -}}

{{- define "ai-proxy.envoy" -}}
- name: envoy
  image: "{{ .Values.envoyImage.repository }}:{{ .Values.envoyImage.tag }}"
  imagePullPolicy: {{ .Values.envoyImage.pullPolicy }}
  command: [envoy]
  args: # it takes no `--option=value`
    - --config-path
    - /run/ai-proxy/envoy.yaml
    - --concurrency
    - {{ .Values.envoyConcurrency | quote }}
    - --log-level
    - warning
    - --disable-hot-restart
    - --drain-strategy
    - immediate
    - --drain-time-s # a changed listener lets its open answers end
    - "86400"
  ports:
    - {name: http, containerPort: 8080}
    - {name: stats, containerPort: 9902}
  lifecycle:
    preStop:
      exec:
        command:
          - bash
          - -c
          - |
{{ tpl (.Files.Get "drain.sh") . | indent 12 }}
  startupProbe: {httpGet: {path: /ready, port: stats}, periodSeconds: 1, failureThreshold: 60}
  readinessProbe: {httpGet: {path: /ready, port: stats}, periodSeconds: 2, failureThreshold: 2}
  livenessProbe:
    tcpSocket: {port: stats}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
    terminationGracePeriodSeconds: 10
  resources: {{- toYaml .Values.resources.envoy | nindent 4 }}
  securityContext: {{- include "ai-proxy.hardened" . | nindent 4 }}
  volumeMounts:
    - {name: run, mountPath: /run/ai-proxy, readOnly: true}
{{- end -}}
