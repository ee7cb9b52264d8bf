{{- define "dispatcher.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dispatcher.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dispatcher.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dispatcher.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dispatcher.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dispatcher.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dispatcher.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dispatcher.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dispatcher.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- /* Whether something scales the Deployment. */ -}}
{{- define "dispatcher.scaled" -}}
{{- if or .Values.autoscaling.keda.enabled .Values.autoscaling.hpa.enabled }}true{{ end }}
{{- end }}

{{- /* Drain limit and the longest ordinary request, in seconds; the defaults are those of the worker. */ -}}
{{- define "dispatcher.leastGrace" -}}
{{- $drain := ternary (get .Values.settings "drain_s") 25 (hasKey .Values.settings "drain_s") }}
{{- $request := ternary (get .Values.settings "request_timeout_s") 15 (hasKey .Values.settings "request_timeout_s") }}
{{- addf $drain $request | ceil | int }}
{{- end }}
{{- define "dispatcher.grace" -}}
{{- if .Values.terminationGracePeriodSeconds }}
{{- .Values.terminationGracePeriodSeconds | int }}
{{- else }}
{{- add (include "dispatcher.leastGrace" . | int) 10 }}
{{- end }}
{{- end }}

{{- /* A value as the environment wants it: numbers in full, lists by comma. */ -}}
{{- define "dispatcher.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{- /* The environment and mounts that worker and `helm test` share. */ -}}
{{- define "dispatcher.container" -}}
image: {{ include "dispatcher.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - configMapRef:
      name: {{ include "dispatcher.fullname" . }}
{{- if or .Values.redis.existingSecret.urlKey .Values.extraEnv }}
env:
  {{- if .Values.redis.existingSecret.urlKey }}
  - name: DISPATCHER_REDIS_URL
    valueFrom:
      secretKeyRef:
        name: {{ .Values.redis.existingSecret.name }}
        key: {{ .Values.redis.existingSecret.urlKey }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if or .Values.credentials.existingSecret .Values.credentials.files }}
  - name: credentials
    mountPath: /etc/dispatcher/credentials
    readOnly: true
  {{- end }}
  {{- if .Values.redis.existingSecret.passwordKey }}
  - name: redis
    mountPath: /etc/dispatcher/redis
    readOnly: true
  {{- end }}
  {{- if .Values.projectSettings }}
  - name: config
    mountPath: /etc/dispatcher/config
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "dispatcher.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if or .Values.credentials.existingSecret .Values.credentials.files }}
- name: credentials
  secret:
    secretName: {{ default (printf "%s-credentials" (include "dispatcher.fullname" .)) .Values.credentials.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if .Values.redis.existingSecret.passwordKey }}
- name: redis
  secret:
    secretName: {{ .Values.redis.existingSecret.name }}
    defaultMode: 0440
    items:
      - key: {{ .Values.redis.existingSecret.passwordKey }}
        path: password
{{- end }}
{{- if .Values.projectSettings }}
- name: config
  configMap:
    name: {{ include "dispatcher.fullname" . }}-config
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dispatcher.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Labels that this release's series have. */ -}}
{{- define "dispatcher.series" -}}
namespace="{{ .Release.Namespace }}", job="{{ .Release.Name }}"
{{- end }}

{{- /* What must not be installed: each sentence names the value. */ -}}
{{- define "dispatcher.validate" -}}
{{- $secret := .Values.redis.existingSecret }}
{{- if and (not .Values.redis.url) (not $secret.urlKey) }}
{{- fail "redis.url is empty: say where Redis is, or name a Secret with its URL in redis.existingSecret.name and .urlKey" }}
{{- end }}
{{- if and .Values.redis.url $secret.urlKey }}
{{- fail "redis.url and redis.existingSecret.urlKey are both set: keep one" }}
{{- end }}
{{- if regexMatch "^[a-z+]+://[^/@]*:[^/@]*@" .Values.redis.url }}
{{- fail "redis.url holds a password, which would stand in a ConfigMap: put it into a Secret, named in redis.existingSecret" }}
{{- end }}
{{- $proxies := dict "settings.proxy" (get .Values.settings "proxy") }}
{{- range $project, $given := .Values.projectSettings }}
{{- $_ := set $proxies (printf "projectSettings.%s.proxy" $project) (get $given "proxy") }}
{{- end }}
{{- range $where, $url := $proxies }}
{{- if regexMatch "://[^/@]*:[^/@]*@" (toString $url) }}
{{- fail (printf "the proxy in %s holds a password, which would stand in a ConfigMap: give DISPATCHER_PROXY in extraEnv, from a Secret" $where) }}
{{- end }}
{{- end }}
{{- if and (or $secret.urlKey $secret.passwordKey) (not $secret.name) }}
{{- fail "redis.existingSecret.name is empty, but a key of it is named" }}
{{- end }}
{{- if and $secret.name (not (or $secret.urlKey $secret.passwordKey)) }}
{{- fail "redis.existingSecret.name is set: say in redis.existingSecret.passwordKey or .urlKey what to take from it" }}
{{- end }}
{{- $sources := 0 }}
{{- range list .Values.credentials.existingSecret .Values.credentials.files .Values.credentials.workloadIdentity .Values.credentials.none }}
{{- if . }}{{ $sources = add1 $sources }}{{ end }}
{{- end }}
{{- if eq (int $sources) 0 }}
{{- fail "credentials is empty: set one of credentials.existingSecret, credentials.files, credentials.workloadIdentity, credentials.none" }}
{{- end }}
{{- if gt (int $sources) 1 }}
{{- fail "credentials has more than one source: keep one of credentials.existingSecret, credentials.files, credentials.workloadIdentity, credentials.none" }}
{{- end }}
{{- if and (or .Values.credentials.workloadIdentity .Values.credentials.none) (not .Values.projects) }}
{{- fail "projects is empty: credentials.workloadIdentity and credentials.none do not say which projects to serve" }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled .Values.autoscaling.hpa.enabled }}
{{- fail "autoscaling.keda.enabled and autoscaling.hpa.enabled are both true: two scalers would fight over one Deployment; keep one" }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled (not .Values.autoscaling.keda.serverAddress) }}
{{- fail "autoscaling.keda.serverAddress is empty: KEDA reads the backlog from Prometheus; give its URL" }}
{{- end }}
{{- if lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas) }}
{{- fail (printf "autoscaling.maxReplicas (%v) is less than autoscaling.minReplicas (%v)" .Values.autoscaling.maxReplicas .Values.autoscaling.minReplicas) }}
{{- end }}
{{- $grace := int .Values.terminationGracePeriodSeconds }}
{{- $least := include "dispatcher.leastGrace" . | int }}
{{- if and $grace (le $grace $least) }}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be more than settings.drain_s + settings.request_timeout_s (%d): pods would be killed while they drain; 0 lets the chart reckon" $grace $least) }}
{{- end }}
{{- end }}
