{{- define "kubedistill.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end }}

{{/* Prefix of names in the release's namespace. The name of a Service may not contain dots, unlike that of a release. */}}
{{- define "kubedistill.fullname" -}}
{{- $name := include "kubedistill.name" . -}}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $own | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{- define "kubedistill.operator" -}}
{{- include "kubedistill.fullname" . }}-operator
{{- end }}

{{/* Name of cluster-scoped objects, unique even if another namespace has a release with the same name. */}}
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

{{/* app.kubernetes.io/managed-by is Helm here; on objects that the operator creates, it is kubedistill. */}}
{{- define "kubedistill.labels" -}}
{{- $own := include "kubedistill.selector" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "kubedistill" -}}
{{- merge $own (.Values.commonLabels | default dict) | toYaml -}}
{{- end }}

{{/* Labels and annotations of an object; its own take precedence over those of all objects. */}}
{{- define "kubedistill.metadata" -}}
labels: {{- merge (deepCopy (.labels | default dict)) (include "kubedistill.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (deepCopy (.annotations | default dict)) (.root.Values.commonAnnotations | default dict) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kubedistill.crdMetadata" -}}
{{- $keep := empty .Values.crds.keep | ternary dict (dict "helm.sh/resource-policy" "keep") -}}
{{- include "kubedistill.metadata" (dict "root" . "annotations" (merge $keep (.Values.crds.annotations | default dict))) -}}
{{- end }}

{{- define "kubedistill.selector" -}}
app.kubernetes.io/name: {{ include "kubedistill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Selects the operator's pods, but not the pod of a test. */}}
{{- define "kubedistill.podSelector" -}}
{{ include "kubedistill.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "kubedistill.image" -}}
{{- $image := .Values.image -}}
{{- $hasOwn := regexMatch "^(localhost|[^/]*[.:][^/]*)/" $image.repository -}}
{{- with $image.registry | default (ternary "" (.Values.global).imageRegistry $hasOwn) }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Names of the Secrets in global.imagePullSecrets, as JSON; charts write them as names or as references. */}}
{{- define "kubedistill.globalPullSecrets" -}}
{{- $names := list -}}
{{- range (.Values.global).imagePullSecrets -}}
{{- if kindIs "string" . }}{{ $names = append $names . }}{{ else }}{{ $names = append $names .name }}{{ end -}}
{{- end -}}
{{- uniq $names | toJson -}}
{{- end }}

{{- define "kubedistill.imagePullSecrets" -}}
{{- $shared := list -}}
{{- range include "kubedistill.globalPullSecrets" . | fromJsonArray }}{{ $shared = append $shared (dict "name" .) }}{{ end -}}
{{- with .Values.imagePullSecrets | default $shared }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* The operator's settings file; values of global apply unless settings.images overrides them. */}}
{{- define "kubedistill.settings" -}}
{{- $images := dict -}}
{{- with (.Values.global).imageRegistry }}{{ $_ := set $images "registry" . }}{{ end -}}
{{- with include "kubedistill.globalPullSecrets" . | fromJsonArray }}{{ $_ := set $images "pullSecrets" . }}{{ end -}}
{{- merge (deepCopy .Values.settings) (dict "images" $images) | toYaml -}}
{{- end }}

{{/* A probe. The API server does not store a delay of 0, which GitOps tools would show as a difference. */}}
{{- define "kubedistill.probe" -}}
{{- $probe := merge (dict "httpGet" (dict "path" .path "port" "http")) .values -}}
{{- empty $probe.initialDelaySeconds | ternary (omit $probe "initialDelaySeconds") $probe | toYaml -}}
{{- end }}

{{/* Interval and relabelings of a monitor. */}}
{{- define "kubedistill.scrape" -}}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Selects the pods of jobs, for monitors and policies; no other pods have this label. */}}
{{- define "kubedistill.jobPods" -}}
matchExpressions:
- key: kubedistill.io/job-uid
  operator: Exists
{{- end }}

{{/* Peers that may submit to Ray. A label in all namespaces does not identify KubeRay, because jobs set labels of pods. */}}
{{- define "kubedistill.kuberayPeers" -}}
{{- $peers := list }}
{{- range $namespace := .kuberayNamespaces }}
{{- if has $namespace $.jobNamespaces }}
{{- fail (printf "networkPolicy.kuberayNamespaces: %s is one of jobNamespaces too, where jobs may set KubeRay's label on their pods. Run KubeRay in a namespace without jobs, and name that." $namespace) }}
{{- end }}
{{- $place := dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace) }}
{{- $labels := dict "matchLabels" (dict "app.kubernetes.io/name" "kuberay-operator") }}
{{- $peers = append $peers (dict "namespaceSelector" $place "podSelector" $labels) }}
{{- end }}
{{- range .kuberayFrom }}
{{- if not (and (hasKey . "namespaceSelector") (empty .namespaceSelector)) }}
{{- $peers = append $peers . }}
{{- end }}
{{- end }}
{{- if not $peers }}
{{- fail "networkPolicy.kuberayNamespaces: nobody could submit to Ray in jobNamespaces. Name the namespace of KubeRay's operator." }}
{{- end }}
{{- toYaml $peers }}
{{- end }}

{{/* Refuse fields of a disabled policy, because somebody may rely on a protection that does not exist. */}}
{{- define "kubedistill.checkEnforced" -}}
{{- $policy := get .root.Values .section }}
{{- if not $policy.enabled }}
{{- range $field := .fields }}
{{- if get $policy $field }}
{{- fail (printf "%s.%s: nothing enforces it while %s.enabled is false. Set that to true, or leave this field out." $.section $field $.section) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
