"""The chart's values: the one place that declares them.

values.yaml, values.schema.json and the table in the chart's README are made from these models by `make chart`.
What is a plain dict here is handed to Kubernetes as it is, which checks it.
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
    """A Secret as pods name it."""

    name: ObjectName


class Global(Model):
    """What an umbrella chart hands to every chart; other charts' keys are allowed."""

    model_config = ConfigDict(extra="allow")

    image_registry: Registry | Literal[""] = ""
    """Registry of images whose name has none, where image.registry or settings.images.registry is empty."""
    image_pull_secrets: Annotated[list[ObjectName | SecretReference], Field(max_length=16)] = []
    """Names or {name: …}, where imagePullSecrets or settings.images.pullSecrets is empty."""


class Image(Model):
    """The operator's image."""

    registry: Registry | Literal[""] = ""
    """Registry, such as ghcr.io; empty for that of global, else the container engine's own."""
    repository: Annotated[str, Field(min_length=1, max_length=512)] = "kubedistill/operator"
    tag: Annotated[str, Field(max_length=128)] = ""
    """Empty: the chart's appVersion."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Such as sha256:…; decides, whatever the tag says. Images of jobs are under settings.images."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Crds(Model):
    """The CustomResourceDefinition of DistillationJob."""

    install: bool = True
    """Install and upgrade it with the chart; only one release of a cluster can."""
    keep: bool = True
    """Leave it, and so every job, when the release is uninstalled."""
    annotations: Labels = {}


class Roles(Model):
    """Roles. What they allow depends on settings.watchNamespaces and settings.rbac."""

    create: bool = True
    """Make the operator's roles and bindings."""
    create_namespaced: bool = True
    """Make those in settings.watchNamespaces too; without, apply them yourself from `helm template`."""
    aggregate_cluster_roles: bool = True
    """Add DistillationJobs to the cluster's roles view, edit and admin."""


class ServiceAccount(Model):
    """The operator's account."""

    create: bool = True
    name: Annotated[str, Field(max_length=253)] = ""
    """Empty: named after the release, or `default` where none is created."""
    annotations: Labels = {}


class Probe(Model):
    """When a probe gives up."""

    initial_delay_seconds: Annotated[int, Field(ge=0)] = 0
    period_seconds: Annotated[int, Field(ge=1)] = 10
    timeout_seconds: Annotated[int, Field(ge=1)] = 5
    failure_threshold: Annotated[int, Field(ge=1)] = 3


class DisruptionBudget(Model):
    """Keeps a replica while nodes are drained."""

    enabled: bool = False
    """Takes effect with two replicas or more: with one it would only block drains."""
    max_unavailable: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[0-9]+%$")] = 1


class Service(Model):
    """The Service of the operator's metrics and probes."""

    annotations: Labels = {}
    labels: Labels = {}


class Monitor(Model):
    """A monitor of the Prometheus operator."""

    enabled: bool = False
    namespace: Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    """Where your Prometheus looks for monitors. Empty: the release's namespace."""
    labels: Labels = {}
    """Labels that your Prometheus selects monitors by, such as release: kube-prometheus-stack."""
    interval: Duration = "30s"
    scrape_timeout: Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))*$", max_length=16)] = ""
    """At most the interval. Empty: as your Prometheus has it."""
    relabelings: Annotated[list[Object], Field(max_length=32)] = []
    """Further relabelings of targets, after the chart's own."""
    metric_relabelings: Annotated[list[Object], Field(max_length=32)] = []
    """Relabelings of samples, such as one that drops a series."""


class Rules(Model):
    """The alerts of rules/ as a PrometheusRule."""

    enabled: bool = False
    labels: Labels = {}
    """Labels that your Prometheus selects rules by."""
    runbooks: Text = "docs/runbooks.md"
    """Where you keep the runbooks; each alert adds # and its name in lower case."""


class Dashboards(Model):
    """The Grafana dashboards of dashboards/ as ConfigMaps."""

    enabled: bool = False
    labels: Labels = {"grafana_dashboard": "1"}
    """Labels that Grafana's sidecar selects dashboards by."""
    annotations: Labels = {"grafana_folder": "kubedistill"}


class Metrics(Model):
    """What is shown to Prometheus and Grafana."""

    service_monitor: Monitor = Monitor()
    """Scrapes the operator."""
    pod_monitor: Monitor = Monitor()
    """Scrapes the Ray pods of jobs."""
    prometheus_rule: Rules = Rules()
    dashboards: Dashboards = Dashboards()


class NetworkPolicy(Model):
    """Who may talk to the operator and to the pods of jobs."""

    enabled: bool = False
    metrics_from: Annotated[list[Object], Field(max_length=32)] = []
    """NetworkPolicyPeers that may scrape metrics. Empty: all."""
    api_server_ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(max_length=8)] = [443, 6443]
    """Ports at which the operator may reach the API server."""
    job_namespaces: Annotated[list[Namespace], Field(max_length=256)] = []
    """Namespaces in which pods of jobs accept only each other, KubeRay and the scraper: who reaches Ray runs code."""
    kuberay_namespaces: Annotated[list[Namespace], Field(max_length=8)] = []
    """Namespaces of KubeRay's operator, none of them with jobs: whoever may set labels there reaches Ray. Needed with
    jobNamespaces."""
    kuberay_from: Annotated[list[Object], Field(max_length=32)] = []
    """Further NetworkPolicyPeers that are KubeRay's operator. One of all namespaces does not count."""


class ServiceAccountPolicy(Model):
    """Which ServiceAccounts a job may name: its pods run with their rights."""

    enabled: bool = False
    """Make a ValidatingAdmissionPolicy, for settings.watchNamespaces or for all namespaces."""
    allowed: Annotated[list[ObjectName], Field(max_length=256)] = []
    """Names that `spec.pods.serviceAccountName` may have. Empty: none, so every job gets an account of its own."""


class Values(Model):
    """All values of the chart."""

    enabled: bool = True
    """For the `condition` of an umbrella chart that depends on this one; the chart itself does not read it."""
    name_override: OwnName = ""
    """Instead of the chart's name in names and labels."""
    fullname_override: OwnName = ""
    """Instead of the release's name in names."""
    common_labels: Labels = {}
    """Labels of every object that the chart makes."""
    common_annotations: Labels = {}
    """Annotations of every object that the chart makes; those of the operator's pods are podAnnotations."""
    image: Image = Image()
    image_pull_secrets: Annotated[list[Object], Field(max_length=16)] = []
    """Such as {name: registry-key}; for the operator's pods only. Empty: those of global."""
    settings: Settings = Settings()
    """The operator's settings file."""
    log_level: Literal["debug", "info", "warning"] = "info"
    replicas: Annotated[int, Field(ge=0, le=9)] = 1
    """One leads by a Lease, the others wait for it to go."""
    min_ready_seconds: Annotated[int, Field(ge=0, le=300)] = 15
    """How long a new replica must stay ready before an old one leaves and a rollout counts as done."""
    revision_history_limit: Annotated[int, Field(ge=0)] = 10
    """Old ReplicaSets that are kept. Go back by `helm rollback`: `kubectl rollout undo` leaves the new settings."""
    strategy: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    """A replica is ready when it leads and watches, or sees another one renew the Lease.
    rollingUpdate is left out of other types."""
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
    """On OpenShift set runAsUser and runAsGroup to null."""
    security_context: Object = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources: Object = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    node_selector: Labels = {"kubernetes.io/os": "linux"}
    """Labels of the nodes for the operator and `helm test`; those of jobs' pods are settings."""
    affinity: Object = {}
    tolerations: Annotated[list[Object], Field(max_length=32)] = []
    topology_spread_constraints: Annotated[list[Object], Field(max_length=8)] = [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ]
    """One without a labelSelector gets that of the replicas."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    termination_grace_period_seconds: Annotated[int, Field(ge=15)] = 30
    """10 s of it are for what is under way."""
    liveness_probe: Probe = Probe(initial_delay_seconds=15, period_seconds=20)
    readiness_probe: Probe = Probe()
    extra_args: Annotated[list[Text], Field(max_length=32)] = []
    """Further arguments of `kubedistill-operator run`."""
    extra_env: Annotated[list[Object], Field(max_length=64)] = []
    extra_volumes: Annotated[list[Object], Field(max_length=16)] = []
    extra_volume_mounts: Annotated[list[Object], Field(max_length=16)] = []
    service: Service = Service()
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    metrics: Metrics = Metrics()
    network_policy: NetworkPolicy = NetworkPolicy()
    service_account_policy: ServiceAccountPolicy = ServiceAccountPolicy()
    extra_objects: Annotated[list[Object | str], Field(max_length=64)] = []
    """Further manifests, as maps or as texts; both may hold templates."""
    global_: Annotated[Global, Field(alias="global")] = Global()
