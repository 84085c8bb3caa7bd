{{- define "archsearch.name" -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "archsearch.selector" -}}
app.kubernetes.io/name: archsearch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "archsearch.labels" -}}
{{ include "archsearch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "archsearch.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "archsearch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "archsearch.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- /* The namespaces of a namespaced installation, separated by commas. */ -}}
{{- define "archsearch.namespaces" -}}
{{- if eq .Values.rbac.scope "Namespaced" -}}
{{ .Values.watchNamespaces | default (list .Release.Namespace) | join "," }}
{{- else -}}
{{ .Values.watchNamespaces | join "," }}
{{- end -}}
{{- end -}}

{{- /* All that the operator may do. Each verb is used; see the README. */ -}}
{{- define "archsearch.rules" -}}
- apiGroups: [archsearch.dev]
  resources: [architecturesearches]
  verbs: [get, list, watch]
- apiGroups: [archsearch.dev]
  resources: [architecturesearches/status, architecturetrials/status]
  verbs: [patch]
- apiGroups: [archsearch.dev]
  resources: [architecturetrials]
  verbs: [get, list, create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "archsearch.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
