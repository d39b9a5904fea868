{{- define "remediator.name" -}}
{{- if contains "remediator" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-remediator" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}
{{- define "remediator.selector" -}}
app.kubernetes.io/name: remediator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "remediator.labels" -}}
{{ include "remediator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "remediator.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "remediator.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}
{{- define "remediator.config" -}}
{{- $storage := dict "url" "sqlite:////var/lib/remediator/remediator.db" -}}
{{- if .Values.postgresql.url }}{{ $storage = dict "url" .Values.postgresql.url "password_file" "/etc/remediator-secrets/postgres" }}{{ end -}}
{{- $files := list "/etc/remediator/rules/*.yml" -}}
{{- if .Values.sidecar.enabled }}{{ $files = append $files "/etc/remediator-labelled/*.yml" }}{{ end -}}
{{- mergeOverwrite (deepCopy .Values.config) (dict "storage" (merge $storage (omit (.Values.config.storage | default dict) "url")) "rule_files" $files) | toYaml }}
{{- end }}
