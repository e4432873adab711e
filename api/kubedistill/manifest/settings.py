"""The operator's settings file, in which the platform team sets pools, images, storage and limits."""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, model_validator
from pydantic.config import JsonDict

from kubedistill.labels import OUR_DOMAINS, QUEUE_DOMAINS, is_reserved
from kubedistill.manifest.pod_strings import (
    GpuResource,
    Image,
    LabelKey,
    LabelValue,
    TolerationKey,
    VariableName,
    VariableValue,
)
from kubedistill.stored import is_stored
from kubedistill.v1alpha1.base import DATA_KEY, DOMAIN, NAME, ONE_LINE, Model, Name, Uri
from kubedistill.v1alpha1.operation import ObjectName, Quantity, Seconds

Namespace = Name
Registry = Annotated[str, Field(min_length=1, max_length=255, pattern=f"^{DOMAIN}(:[0-9]{{1,5}})?(/[a-z0-9._-]+)*$")]
ConfigMapKey = Annotated[str, Field(min_length=1, max_length=253, pattern=DATA_KEY)]
# No dollar sign: Kubernetes replaces $(NAME) in variables.
ProxyUrl = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^https?://[!-#%-~]+$")]
NoProxy = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-A-Za-z0-9._:/*\[\]]+$")]
Source = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[a-z][a-z0-9+.-]*:[!-~]*$")]
UserId = Annotated[int, Field(ge=1, le=2**31 - 1)]
ExtendedCount = Annotated[int, Field(ge=1, le=1024)]
GroupId = Annotated[int, Field(ge=0, le=2**31 - 1)]


_EXISTS: JsonDict = {"required": ["operator"], "properties": {"operator": {"const": "Exists"}}}
_KEYED_OR_ALL: JsonDict = {
    "anyOf": [_EXISTS, {"required": ["key"], "properties": {"key": {"minLength": 1}}}],
    "if": _EXISTS,
    "then": {"properties": {"value": {"const": ""}}},
}
"""JSON schema: a toleration has a key unless it tolerates all taints, and a value only with operator Equal."""


class Toleration(Model):
    """One taint that pods of a pool tolerate."""

    model_config = ConfigDict(json_schema_extra=_KEYED_OR_ALL)

    key: TolerationKey = ""
    """Key of the taint. Empty, with Exists: all taints."""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue = ""
    """Value of the taint, for Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""

    @model_validator(mode="after")
    def _check_operator(self, info: ValidationInfo) -> Self:
        """Check that a toleration has a key or tolerates all taints, and a value only for Equal."""
        if is_stored(info):
            return self
        if not self.key and self.operator != "Exists":
            raise ValueError("a toleration without a key must have operator Exists; Name a key, or set the operator")
        if self.value and self.operator == "Exists":
            raise ValueError("a toleration with operator Exists has no value; Remove the value")
        return self


_LABELLED_OR_CPU: JsonDict = {
    "anyOf": [
        {"required": ["nodeSelector"], "properties": {"nodeSelector": {"minProperties": 1}}},
        {"required": ["gpusPerNode"], "properties": {"gpusPerNode": {"const": 0}}},
    ]
}
"""JSON schema: a pool with GPUs has a label of its nodes."""


class Scratch(Model):
    """A volume of each pod, which is deleted with it."""

    size: Quantity
    """Its size, such as 2Ti."""
    storage_class: ObjectName | None = None
    """StorageClass of the volume. Absent: the cluster's default."""


class Pool(Model):
    """A named kind of node."""

    model_config = ConfigDict(json_schema_extra=_LABELLED_OR_CPU)

    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels of its nodes."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints of its nodes that pods tolerate."""
    gpu_resource: GpuResource = "nvidia.com/gpu"
    """Name of the extended resource for one GPU."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 8
    """GPUs per node, 0 to 64; 0 for a pool of CPUs."""
    accelerator: Annotated[str, Field(min_length=1, max_length=63), ONE_LINE] | None = None
    """Name of its GPUs, such as NVIDIA H200. Absent: the label nvidia.com/gpu.product in nodeSelector, or the pool's
    name."""
    memory_per_gpu: Quantity = "80Gi"
    """Memory of one GPU."""
    cpu_per_gpu: Annotated[float, Field(gt=0, le=1024)] = 8
    """CPU cores that a pod requests per GPU, or in total if it has none."""
    host_memory_per_gpu: Quantity = "64Gi"
    """Memory that a pod requests per GPU, or in total if it has none."""
    ephemeral_storage: Quantity | None = None
    """Local disk that each pod requests. Absent: none."""
    scratch: Scratch | None = None
    """Volume of each pod for what it downloads from the Hugging Face hub, unless a job names a modelCache. Absent: a
    folder in the store."""
    env: Annotated[dict[VariableName, VariableValue], Field(max_length=64)] = Field(default_factory=dict)
    """Environment variables of its pods, such as NCCL_SOCKET_IFNAME. Those that kubedistill sets itself are refused."""
    resources: Annotated[dict[GpuResource, ExtendedCount], Field(max_length=8)] = Field(default_factory=dict)
    """Extended resources that each of its pods with GPUs requests, such as RDMA devices, and how many."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of its pods, such as nvidia. Absent: the default of the nodes."""
    price_per_gpu_hour: Annotated[float | None, Field(ge=0, le=10_000)] = None
    """Price of one GPU for one hour in US dollars. Absent: costs are not reported, and spec.budget.dollars is
    refused."""
    allowed_namespaces: Annotated[tuple[Namespace, ...], Field(max_length=1024)] = ()
    """Namespaces whose jobs may use the pool. Empty: all."""
    max_gpus_per_namespace: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """GPUs of the pool that jobs of one namespace may hold at a time; other stages are Queued. Absent: no limit."""


class Images(Model):
    """Container images of the pods that a job starts."""

    runtime: Image = "kubedistill/runtime:0.1.0"
    """Image of the stages with GPUs, for head and workers."""
    runtime_cpu: Image = "kubedistill/runtime-cpu:0.1.0"
    """Image of all other stages."""
    registry: Registry | None = None
    """Registry for images whose name has none, such as registry.example.com:5000/mirror."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets in the job's namespace for pulling the images, in addition to those that the job names."""


class SharedStorage(Model):
    """One store for the jobs of several namespaces that name no storage."""

    uri: Uri
    """Root of the store; no namespace is appended."""
    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1, max_length=1024)]
    """Namespaces that use it. Whoever may create jobs in one can read and use what the others have created."""


class DefaultStorage(Model):
    """Where jobs that name no storage keep their artifacts."""

    uri: Uri | None = None
    """Root of all stores: each namespace has its own folder below it, with its name. Absent: the root of the claim."""
    shared: Annotated[tuple[SharedStorage, ...], Field(max_length=64)] = ()
    """Stores that several namespaces share. Empty: no two namespaces share one."""
    volume_claim: ObjectName | None = None
    """PersistentVolumeClaim in the job's namespace."""
    single_node: bool = False
    """Allow ReadWriteOnce claims, for clusters with one node."""

    @model_validator(mode="after")
    def _check_shared(self, info: ValidationInfo) -> Self:
        """Check that no namespace or URI is in two stores, and that no shared store is in a namespace's own store."""
        if is_stored(info):
            return self
        seen: dict[str, int] = {}
        for number, group in enumerate(self.shared):
            at = f"storage.shared[{number}]"
            for named in (*group.namespaces, group.uri.rstrip("/")):
                if (other := seen.setdefault(named, number)) != number:
                    raise ValueError(f"{at} and shared[{other}] both have {named}; Name it in one of them")
            if (owner := self._owner_of(group.uri)) is not None:
                fix = "Name a folder that is not a namespace's, such as _shared"
                raise ValueError(f"{at}.uri is in the store of namespace {owner}; {fix}")
        return self

    def _owner_of(self, uri: str) -> str | None:
        """Return the namespace whose store contains a URI, whether or not the namespace exists."""
        root = f"{self.uri.rstrip('/')}/" if self.uri is not None else None
        if root is None or not uri.startswith(root):
            return None
        first = uri.removeprefix(root).partition("/")[0]
        return first if re.fullmatch(NAME, first) else None


class Resources(Model):
    """What a pod without GPUs requests."""

    cpu: Quantity = "2"
    memory: Quantity = "8Gi"
    ephemeral_storage: Quantity | None = None
    """Local disk that it requests. Absent: none."""


class PodSecurityContext(Model):
    """User and groups of the pods of jobs. A field without a value is omitted: the image or the platform decides."""

    run_as_user: UserId | None = None
    run_as_group: GroupId | None = None
    fs_group: GroupId | None = None
    """Group for which mounted volumes are made writable, if their driver supports it."""
    fs_group_change_policy: Literal["Always", "OnRootMismatch"] | None = None


class Spread(Model):
    """How evenly the workers of a stage are spread over topology domains."""

    max_skew: Annotated[int, Field(ge=1, le=1024)] = 1
    """Maximum difference in pods between two domains."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "ScheduleAnyway"


class Proxy(Model):
    """Proxies for downloads of the pods of jobs, as environment variables. Whoever may read pods can see them."""

    http_proxy: ProxyUrl | None = None
    """Proxy for http, such as http://proxy.example.com:3128."""
    https_proxy: ProxyUrl | None = None
    """Proxy for https."""
    no_proxy: Annotated[tuple[NoProxy, ...], Field(max_length=64)] = ()
    """Hosts that are reached directly, in addition to this pod, the cluster's Services and the API server."""


class CaBundle(Model):
    """Certificate authorities that pods of jobs trust instead of those of the image."""

    config_map: ObjectName | None = None
    """ConfigMap in the job's namespace with a PEM file of all authorities, also public ones. Absent: the image's."""
    key: ConfigMapKey = "ca.crt"
    """Key of the ConfigMap."""


class Rbac(Model):
    """Optional permissions of the operator."""

    nodes: bool = True
    """Whether it may read nodes; if not, a lost node is charged to infrastructure, and detected later."""
    events: bool = True
    """Whether it may list Events; if not, a job whose pods are refused names the command that shows the cause."""
    create_service_accounts: bool = True
    """Whether it may create a ServiceAccount for each job that names none."""


class Policy(Model):
    """What no job may do, whatever its manifest says; checked when a run starts, and frozen with it."""

    allow_trust_remote_code: bool = True
    """Whether a job may set trustRemoteCode, which lets a checkpoint run its own Python code."""
    allow_data_code: bool = False
    """Whether a job may set data.redact, which runs Python code of whoever may write to the data root."""
    allowed_sources: Annotated[tuple[Source, ...], Field(max_length=64)] = ()
    """Allowed sources: hf://org/name is one model, hf://org/ all models of an organization, hf://datasets/org/ all its
    datasets, hf:// the whole hub, file: all paths of models, https://api.openai.com/ all models of that host. Data
    files of the store are always allowed. Empty: all."""


class Settings(Model):
    """The operator's settings file."""

    pools: Annotated[dict[Name, Pool], Field(max_length=64)] = Field(default_factory=dict)
    """Kinds of nodes, by the name that jobs use."""
    cpu_resources: Resources = Resources()
    """What Ray heads and the stages without GPUs request."""
    cpu_limits: Literal["None", "AsRequested"] = "None"
    """AsRequested is for namespaces with a LimitRange or a quota on limits.cpu; a limit leaves idle cores unused."""
    pod_security_context: PodSecurityContext = PodSecurityContext(
        run_as_user=65532, run_as_group=65532, fs_group=65532, fs_group_change_policy="OnRootMismatch"
    )
    """User and groups of the pods of jobs, never root. On OpenShift, set runAsUser, runAsGroup and fsGroup to null."""
    topology_spread: Annotated[dict[LabelKey, Spread], Field(max_length=8)] = Field(default_factory=dict)
    """Spread of the workers of a stage, by the node label of a topology domain, such as kubernetes.io/hostname."""
    scheduler_name: ObjectName | None = None
    """Scheduler of all pods of jobs. Absent: the default of the cluster."""
    proxy: Proxy = Proxy()
    ca_bundle: CaBundle = CaBundle()
    mesh: Literal["Disabled", "Inherit"] = "Disabled"
    """Disabled asks Istio and Linkerd not to inject sidecars into pods of jobs; Inherit leaves it to the namespace."""
    images: Images = Images()
    ray_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", max_length=16)] = "2.60.0"
    """Version of Ray in the runtime image."""
    submission_mode: Literal["HTTPMode", "K8sJobMode"] = "HTTPMode"
    """How KubeRay submits a driver."""
    storage: DefaultStorage = DefaultStorage()
    policy: Policy = Policy()
    watch_namespaces: Annotated[tuple[Namespace, ...], Field(max_length=256)] = ()
    """Namespaces to watch. Empty: all."""
    max_active_jobs_per_namespace: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Maximum number of jobs with a child at a time; other jobs are Queued."""
    on_restore: Literal["Run", "Hold"] = "Run"
    """What to do with jobs that have no status, as after a restore. Run: start them, and skip stages whose artifacts
    exist. Hold: start no such job, including new ones, until it has the annotation kubedistill.io/release."""
    node_lost_seconds: Seconds = 300
    """Seconds after which pods on an absent or NotReady node count as gone."""
    scale_up_grace_seconds: Seconds = 900
    """Seconds for which unschedulable pods are treated as a cluster that is scaling up."""
    resync_seconds: Seconds = 600
    """Seconds between two reconciles of every job, regardless of the watches."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    rbac: Rbac = Rbac()
    propagate_labels: Annotated[tuple[LabelKey, ...], Field(max_length=16)] = ()
    """Labels, such as a cost center, that are copied from the namespace or else the job, at the start of a run, to the
    children and pods of the run and to the metric distillation_job_labels."""

    @model_validator(mode="after")
    def _check_pools(self) -> Self:
        """Check that pools with GPUs select their nodes, and that GPUs are requested once."""
        for name, pool in self.pools.items():
            if not pool.node_selector and pool.gpus_per_node:
                raise ValueError(
                    f"pools.{name}.nodeSelector is required for a pool with GPUs; name a label of its nodes"
                )
            if pool.gpu_resource in pool.resources:
                raise ValueError(f"pools.{name}.resources contains {pool.gpu_resource}, its gpuResource; remove it")
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        """Check that users may set the propagated labels, and that their names differ in Prometheus."""
        names: dict[str, str] = {}
        for key in self.propagate_labels:
            if is_reserved(key, domains=(*OUR_DOMAINS, *QUEUE_DOMAINS)):
                raise ValueError(f"propagateLabels contains {key}, which users may not set; remove it")
            if (other := names.setdefault(metric_label(key), key)) != key:
                raise ValueError(f"propagateLabels contains {other} and {key}, one label in Prometheus; remove one")
        return self


def metric_label(key: str) -> str:
    """Return the name of a Kubernetes label in Prometheus, as kube-state-metrics writes it."""
    return f"label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}"
