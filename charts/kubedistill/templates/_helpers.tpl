{{- define "kubedistill.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end }}

{{/* Names in the release's namespace begin with this; a Service's name holds no dots, which a release's may. */}}
{{- define "kubedistill.fullname" -}}
{{- $name := include "kubedistill.name" . -}}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $own | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{- define "kubedistill.operator" -}}
{{- include "kubedistill.fullname" . }}-operator
{{- end }}

{{/* Names of what belongs to no namespace: another release may have the same name in another one. */}}
{{- define "kubedistill.clusterName" -}}
{{- .Release.Namespace }}.{{ include "kubedistill.fullname" . }}
{{- end }}

{{- define "kubedistill.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "kubedistill.operator" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/* app.kubernetes.io/managed-by is Helm here; on what the operator makes it is kubedistill. */}}
{{- define "kubedistill.labels" -}}
{{- $own := include "kubedistill.selector" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "kubedistill" -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end }}

{{- define "kubedistill.selector" -}}
app.kubernetes.io/name: {{ include "kubedistill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The operator's pods, and not that of a test. */}}
{{- define "kubedistill.podSelector" -}}
{{ include "kubedistill.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "kubedistill.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "kubedistill.crdAnnotations" -}}
{{- $annotations := deepCopy .Values.crds.annotations -}}
{{- if .Values.crds.keep -}}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* What pods of jobs have, and nothing else: the label by which monitors and policies know them. */}}
{{- define "kubedistill.jobPods" -}}
matchExpressions:
- key: kubedistill.io/job-uid
  operator: Exists
{{- end }}
