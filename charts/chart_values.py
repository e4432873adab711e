"""The values of the chart; this module is the only place that declares them.

`make chart` generates values.yaml, values.schema.json and the table in the chart's README from these models.
A plain dict is passed to Kubernetes unchanged, and Kubernetes validates it.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from kubedistill.manifest.settings import Namespace, Registry, Settings
from kubedistill.v1alpha1.base import Model
from kubedistill.v1alpha1.operation import ObjectName

Text = Annotated[str, Field(max_length=1024)]
Object = dict[str, Any]
Labels = Annotated[dict[str, str], Field(max_length=32)]
OwnName = Annotated[str, Field(max_length=53, pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$")]
Duration = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))+$", max_length=16)]


class SecretReference(Model):
    """A Secret, as in imagePullSecrets of a pod."""

    name: ObjectName


class Global(Model):
    """Values that an umbrella chart passes to every chart; keys of other charts are allowed."""

    model_config = ConfigDict(extra="allow")

    image_registry: Registry | Literal[""] = ""
    """Registry for images whose name has none, if image.registry or settings.images.registry is empty."""
    image_pull_secrets: Annotated[list[ObjectName | SecretReference], Field(max_length=16)] = []
    """Names or {name: …}, used if imagePullSecrets or settings.images.pullSecrets is empty."""


class Image(Model):
    """The operator's image."""

    registry: Registry | Literal[""] = ""
    """Registry, such as ghcr.io. Empty: that of global, or else the default of the container engine."""
    repository: Annotated[str, Field(min_length=1, max_length=512)] = "kubedistill/operator"
    tag: Annotated[str, Field(max_length=128)] = ""
    """Empty: the chart's appVersion."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Digest, such as sha256:…; it takes precedence over the tag. Images of jobs are under settings.images."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Crds(Model):
    """The CustomResourceDefinition of DistillationJob."""

    install: bool = True
    """Install and upgrade it with the chart; only one release in a cluster can do this."""
    keep: bool = True
    """Keep it, and with it every job, when the release is uninstalled."""
    annotations: Labels = {}


class Roles(Model):
    """Roles. Their rules depend on settings.watchNamespaces and settings.rbac."""

    create: bool = True
    """Create the operator's roles and bindings."""
    create_namespaced: bool = True
    """Also create the roles in settings.watchNamespaces; otherwise, apply them yourself from `helm template`."""
    aggregate_cluster_roles: bool = True
    """Add DistillationJobs to the cluster's roles view, edit and admin."""


class ServiceAccount(Model):
    """The operator's account."""

    create: bool = True
    name: Annotated[str, Field(max_length=253)] = ""
    """Empty: named after the release, or `default` if none is created."""
    annotations: Labels = {}


class Probe(Model):
    """When a probe gives up."""

    initial_delay_seconds: Annotated[int, Field(ge=0)] = 0
    period_seconds: Annotated[int, Field(ge=1)] = 10
    timeout_seconds: Annotated[int, Field(ge=1)] = 5
    failure_threshold: Annotated[int, Field(ge=1)] = 3


class DisruptionBudget(Model):
    """Keeps one replica available while nodes are drained."""

    enabled: bool = False
    """Takes effect only with two or more replicas: with one replica, it would block drains."""
    max_unavailable: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[0-9]+%$")] = 1


class Service(Model):
    """The Service of the operator's metrics and probes."""

    annotations: Labels = {}
    labels: Labels = {}


class Monitor(Model):
    """A monitor of the Prometheus operator."""

    enabled: bool = False
    namespace: Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    """Namespace in which your Prometheus looks for monitors. Empty: the release's namespace."""
    labels: Labels = {}
    """Labels that your Prometheus selects monitors by, such as release: kube-prometheus-stack."""
    interval: Duration = "30s"
    scrape_timeout: Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))*$", max_length=16)] = ""
    """At most the interval. Empty: the default of your Prometheus."""
    relabelings: Annotated[list[Object], Field(max_length=32)] = []
    """Additional relabelings of targets, after the chart's own."""
    metric_relabelings: Annotated[list[Object], Field(max_length=32)] = []
    """Relabelings of samples, such as one that drops a series."""


class Rules(Model):
    """The alerts of rules/ as a PrometheusRule."""

    enabled: bool = False
    labels: Labels = {}
    """Labels that your Prometheus selects rules by."""
    runbooks: Text = "docs/runbooks.md"
    """Location of the runbooks; each alert appends # and its name in lower case."""


class Dashboards(Model):
    """The Grafana dashboards of dashboards/ as ConfigMaps."""

    enabled: bool = False
    labels: Labels = {"grafana_dashboard": "1"}
    """Labels that Grafana's sidecar selects dashboards by."""
    annotations: Labels = {"grafana_folder": "kubedistill"}


class Metrics(Model):
    """Integration with Prometheus and Grafana."""

    service_monitor: Monitor = Monitor()
    """Scrapes the operator."""
    pod_monitor: Monitor = Monitor()
    """Scrapes the Ray pods of jobs."""
    prometheus_rule: Rules = Rules()
    dashboards: Dashboards = Dashboards()


class NetworkPolicy(Model):
    """Which pods may connect to the operator and to the pods of jobs."""

    enabled: bool = False
    metrics_from: Annotated[list[Object], Field(max_length=32)] = []
    """NetworkPolicyPeers that may scrape metrics. Empty: all."""
    api_server_ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(max_length=8)] = [443, 6443]
    """Ports on which the operator may reach the API server."""
    job_namespaces: Annotated[list[Namespace], Field(max_length=256)] = []
    """Namespaces in which pods of jobs accept only each other, KubeRay and the scraper: Ray runs any code it gets."""
    kuberay_namespaces: Annotated[list[Namespace], Field(max_length=8)] = []
    """Namespaces of KubeRay's operator; do not run jobs in them, because whoever may set labels there can reach Ray.
    Required with jobNamespaces."""
    kuberay_from: Annotated[list[Object], Field(max_length=32)] = []
    """Additional NetworkPolicyPeers for KubeRay's operator. A peer of all namespaces does not count."""


class ServiceAccountPolicy(Model):
    """Which ServiceAccounts a job may name; its pods run with their permissions."""

    enabled: bool = False
    """Create a ValidatingAdmissionPolicy, for settings.watchNamespaces or for all namespaces."""
    allowed: Annotated[list[ObjectName], Field(max_length=256)] = []
    """Names that `spec.pods.serviceAccountName` may have. Empty: none, so every job gets its own account."""


class Values(Model):
    """All values of the chart."""

    enabled: bool = True
    """For the `condition` of an umbrella chart that depends on this one; the chart itself does not read it."""
    name_override: OwnName = ""
    """Replaces the chart's name in names and labels."""
    fullname_override: OwnName = ""
    """Replaces the release's name in names."""
    common_labels: Labels = {}
    """Labels of every object that the chart creates."""
    common_annotations: Labels = {}
    """Annotations of every object that the chart creates; for the operator's pods, use podAnnotations."""
    image: Image = Image()
    image_pull_secrets: Annotated[list[Object], Field(max_length=16)] = []
    """Secrets such as {name: registry-key}, for the operator's pods only. Empty: those of global."""
    settings: Settings = Settings()
    """The operator's settings file."""
    log_level: Literal["debug", "info", "warning"] = "info"
    replicas: Annotated[int, Field(ge=0, le=9)] = 1
    """One replica leads by a Lease; the others stand by."""
    min_ready_seconds: Annotated[int, Field(ge=0, le=300)] = 15
    """Seconds that a new replica must be ready before an old one is removed and a rollout is complete."""
    revision_history_limit: Annotated[int, Field(ge=0)] = 10
    """Old ReplicaSets to keep. Roll back with `helm rollback`: `kubectl rollout undo` keeps the new settings."""
    strategy: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    """A replica is ready when it leads and watches, or sees another replica renew the Lease.
    rollingUpdate is omitted for other types."""
    crds: Crds = Crds()
    rbac: Roles = Roles()
    service_account: ServiceAccount = ServiceAccount()
    pod_labels: Labels = {}
    pod_annotations: Labels = {}
    pod_security_context: Object = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    """On OpenShift, set runAsUser and runAsGroup to null."""
    security_context: Object = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources: Object = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    node_selector: Labels = {"kubernetes.io/os": "linux"}
    """Node labels for the operator and `helm test`; for pods of jobs, use settings."""
    affinity: Object = {}
    tolerations: Annotated[list[Object], Field(max_length=32)] = []
    topology_spread_constraints: Annotated[list[Object], Field(max_length=8)] = [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ]
    """A constraint without a labelSelector gets that of the replicas."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    termination_grace_period_seconds: Annotated[int, Field(ge=15)] = 30
    """Includes 10 s for work in progress."""
    liveness_probe: Probe = Probe(initial_delay_seconds=15, period_seconds=20)
    readiness_probe: Probe = Probe()
    extra_args: Annotated[list[Text], Field(max_length=32)] = []
    """Additional arguments of `kubedistill-operator run`."""
    extra_env: Annotated[list[Object], Field(max_length=64)] = []
    extra_volumes: Annotated[list[Object], Field(max_length=16)] = []
    extra_volume_mounts: Annotated[list[Object], Field(max_length=16)] = []
    service: Service = Service()
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    metrics: Metrics = Metrics()
    network_policy: NetworkPolicy = NetworkPolicy()
    service_account_policy: ServiceAccountPolicy = ServiceAccountPolicy()
    extra_objects: Annotated[list[Object | str], Field(max_length=64)] = []
    """Additional manifests, as maps or strings; both may contain templates."""
    global_: Annotated[Global, Field(alias="global")] = Global()
