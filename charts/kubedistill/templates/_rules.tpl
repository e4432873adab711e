{{/* Made by `make chart` from deploy/rbac. */}}
{{- define "kubedistill.rules.operator" -}}
- apiGroups: [kubedistill.io]
  resources: [distillationjobs]
  verbs: [get, list, watch]
- apiGroups: [kubedistill.io]
  resources: [distillationjobs/status]
  verbs: [get, patch, update]
# Children: made and deleted, never changed.
- apiGroups: [ray.io]
  resources: [rayjobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# What belongs to a job or an attempt is made here, and the garbage collector takes it.
{{- if .Values.settings.rbac.createServiceAccounts }}
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create]
{{- end }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create]
# A driver is asked to stop by a patch of its channel. Each driver's Role grants get and patch on its own channel, and
# nobody can grant what they don't hold.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
# Optional: why a Job has no pod, its Event alone says.
{{- if ne (toString .Values.settings.rbac.events) "false" }}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
{{- if .Values.settings.propagateLabels }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
{{- end }}

{{- define "kubedistill.rules.nodes" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end }}

{{- define "kubedistill.rules.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "kubedistill.operator" . }}]
  verbs: [get, update]
{{- end }}
