{{- define "plugport.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "plugport.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "plugport.labels" -}}
{{ include "plugport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "plugport.image" -}}
{{- $repository := required "image.repository: name the image, like registry.example.com/plugport" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The tokens of a kind as arguments. */ -}}
{{- define "plugport.tokens" -}}
{{- $tokens := index .values (printf "%sTokens" .kind) -}}
{{- if $tokens.secretName -}}
{{- range required (printf "%sTokens.keys: name the keys of the secret" .kind) $tokens.keys }}
- --{{ $.kind }}-token-file=/run/secrets/plugport/{{ $.kind }}/{{ . }}
{{- end -}}
{{- end -}}
{{- end -}}
