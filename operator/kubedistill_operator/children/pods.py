"""Pods: what all pods of a child have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from kubedistill.canonical import text_digest
from kubedistill.json_values import Json
from kubedistill.manifest.settings import Images, Pool, Settings, Toleration
from kubedistill.paths import entry_path
from kubedistill.placement.layout import Layout, Placement
from kubedistill.v1alpha1 import SecretKeyRef, Spec
from kubedistill_operator.children.network import CA_FILE, CA_PATH, network_variables
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.images import pulled_name
from kubedistill_operator.plan import Manifest

STORAGE_PATH = "/kubedistill/storage"
JOB_PATH = "/kubedistill/job"
CONFIG_MAPS_PATH = "/kubedistill/configmaps"
_COMMAND = ("python", "-m", "kubedistill_runtime", "--job", f"{JOB_PATH}/job.json")
_LINUX = {"kubernetes.io/os": "linux"}
# CUDA images ask for all GPUs, and NVIDIA's container runtime gives them even to pods that requested none.
_NO_GPUS = {"NVIDIA_VISIBLE_DEVICES": "void"}
_CACHES_PATH = "/kubedistill/caches"
CACHE_VARIABLES = {
    "VLLM_CACHE_ROOT": f"{_CACHES_PATH}/vllm",
    "TRITON_CACHE_DIR": f"{_CACHES_PATH}/triton",
    "TORCHINDUCTOR_CACHE_DIR": f"{_CACHES_PATH}/inductor",
    "FLASHINFER_WORKSPACE_BASE": f"{_CACHES_PATH}/flashinfer",
    "CUDA_CACHE_PATH": f"{_CACHES_PATH}/cuda",
}
"""Where the libraries of pods with GPUs keep what they compile."""


@dataclass(frozen=True, slots=True)
class PodMetadata:
    """Labels and annotations of a pod."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


_NO_MESH = PodMetadata({"sidecar.istio.io/inject": "false"}, {"linkerd.io/inject": "disabled"})
"""Opts out of sidecars, unless the job's own labels or annotations opt in."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, and where it is mounted."""

    name: str
    path: str
    source: Manifest
    read_only: bool = False


def driver_command(request: ChildRequest) -> list[str]:
    """Return the command of a driver, with the digest of its StageJob, so that it accepts no other."""
    checked = ("--job-sha256", text_digest(request.stage_job.to_json())) if request.checks_job else ()
    return [*_COMMAND, *checked]


def image_of(images: Images, layout: Layout) -> str:
    """Return the image of all pods of a stage."""
    return pulled_name(images.runtime if layout.gpus else images.runtime_cpu, registry=images.registry)


def config_map_folders(spec: Spec) -> dict[str, str]:
    """Return where each ConfigMap that the spec names is mounted: the `configMaps` of a StageJob.

    Raises InvalidManifest for a name that is a path; an earlier CRD accepted those.
    """
    sources = (spec.data.train, spec.data.validation, spec.data.test)
    named = [source.config_map_key_ref.name for source in sources if source and source.config_map_key_ref]
    folder, at = Path(CONFIG_MAPS_PATH), "spec.data: configMapKeyRef.name"
    return {name: str(entry_path(folder, name, at=at)) for name in named}


def storage_volumes(request: ChildRequest) -> tuple[Volume, ...]:
    """Return the volume of the store, for the driver and the workers; empty if the store is not on a claim."""
    if request.volume_claim is None:
        return ()
    return (Volume("storage", STORAGE_PATH, {"persistentVolumeClaim": {"claimName": request.volume_claim}}),)


def cache_volumes(placement: Placement) -> tuple[Volume, ...]:
    """Return the volume of the caches of compiled kernels, for pods with GPUs; empty for others, which compile none."""
    return (Volume("caches", _CACHES_PATH, {"emptyDir": {}}),) if placement.gpus else ()


def driver_volumes(request: ChildRequest) -> tuple[Volume, ...]:
    """Return the volumes of a driver: its job, the data in ConfigMaps, and the store."""
    job = Volume("job", JOB_PATH, {"configMap": {"name": request.name}}, read_only=True)
    data = [
        Volume(f"data-{index}", folder, {"configMap": {"name": name}}, read_only=True)
        for index, (name, folder) in enumerate(request.stage_job.config_maps.items())
    ]
    return (job, *data, *storage_volumes(request))


def container(
    request: ChildRequest,
    name: str,
    *,
    image: str,
    placement: Placement,
    volumes: Sequence[Volume] = (),
    environment: Mapping[str, str] | None = None,
    keys: Mapping[str, SecretKeyRef] | None = None,
    secrets: bool = True,
) -> Manifest:
    """Return a container without privileges; `secrets` says whether it gets those of spec.pods.envFromSecrets.

    `keys` are further variables, each from one key of a Secret.
    """
    settings = request.settings
    of_pool = placement.pool.env if placement.pool else {}
    own = {**(CACHE_VARIABLES if placement.gpus else _NO_GPUS), **(environment or {}), **network_variables(settings)}
    variables = {**of_pool, **own}
    from_secrets = [{"secretRef": {"name": secret}} for secret in request.spec.pods.env_from_secrets if secrets]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": request.images.pull_policy,
        **_present(
            env=[
                *({"name": key, "value": value} for key, value in variables.items()),
                *(
                    {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}
                    for name, ref in (keys or {}).items()
                ),
            ],
            envFrom=from_secrets,
        ),
        "resources": _resources(placement, limit_cpu=settings.cpu_limits == "AsRequested"),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the last log line says why it failed
        **_present(volumeMounts=[_mount(volume) for volume in (*volumes, *_ca_volumes(settings))]),
    }


def pod_template(
    request: ChildRequest,
    container: Manifest,
    *,
    placement: Placement,
    volumes: Sequence[Volume] = (),
    restart: Literal["Always", "Never"],
    token: bool,
    spread: Sequence[Manifest] = (),
) -> Manifest:
    """Return a pod of one container; `token` says whether the pod may access the API server."""
    pods, settings = request.spec.pods, request.settings
    no_mesh = _NO_MESH if settings.mesh == "Disabled" else PodMetadata()
    pull_secrets = dict.fromkeys((*settings.images.pull_secrets, *pods.image_pull_secrets))
    labels = {**no_mesh.labels, **pods.labels, **request.cost_labels, **request.labels}
    return {
        "metadata": {"labels": labels, **_present(annotations={**no_mesh.annotations, **pods.annotations})},
        "spec": {
            "restartPolicy": restart,
            "serviceAccountName": request.service_account,
            "automountServiceAccountToken": token,
            # A Service named vllm would set VLLM_PORT, which vLLM would use as its own port.
            "enableServiceLinks": False,
            **_present(
                imagePullSecrets=[{"name": secret} for secret in pull_secrets],
                priorityClassName=pods.priority_class_name,
                schedulerName=settings.scheduler_name,
            ),
            "securityContext": {
                "runAsNonRoot": True,
                **settings.pod_security_context.model_dump(by_alias=True, exclude_none=True),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_scheduling(placement, pools=request.pools),
            **_present(topologySpreadConstraints=list(spread)),
            "containers": [container],
            **_present(volumes=[{"name": one.name, **one.source} for one in (*volumes, *_ca_volumes(settings))]),
        },
    }


def _ca_volumes(settings: Settings) -> tuple[Volume, ...]:
    bundle = settings.ca_bundle
    if bundle.config_map is None:
        return ()
    source = {"configMap": {"name": bundle.config_map, "items": [{"key": bundle.key, "path": CA_FILE}]}}
    return (Volume("ca", CA_PATH, source, read_only=True),)


def _resources(placement: Placement, *, limit_cpu: bool) -> Manifest:
    """Limit memory and devices to the request. A CPU limit would only leave idle cores unused, so it is a setting."""
    devices: dict[str, str] = {}
    if placement.pool and placement.gpus:
        others = {name: str(count) for name, count in placement.pool.resources.items()}
        devices = {placement.pool.gpu_resource: str(placement.gpus), **others}
    disk = {"ephemeral-storage": placement.ephemeral_storage} if placement.ephemeral_storage else {}
    return {
        "requests": {"cpu": placement.cpu, "memory": placement.memory, **disk, **devices},
        "limits": {**({"cpu": placement.cpu} if limit_cpu else {}), "memory": placement.memory, **devices},
    }


def _scheduling(placement: Placement, *, pools: Mapping[str, Pool]) -> Manifest:
    if placement.pool is None:
        return _present(nodeSelector={**_LINUX}, affinity=_avoid_gpu_nodes(pools))
    return _present(
        nodeSelector={**_LINUX, **placement.pool.node_selector},
        tolerations=[_toleration(one) for one in placement.pool.tolerations],
        runtimeClassName=placement.pool.runtime_class_name,
    )


def _avoid_gpu_nodes(pools: Mapping[str, Pool]) -> Manifest:
    """Prefer nodes without GPUs, since their taint may be missing; do not require it, since there may be no others.

    Each label has a preference of its own, since different nodes may share some labels.
    """
    labels = sorted(item for pool in pools.values() if pool.gpus_per_node for item in pool.node_selector.items())
    preferences = [
        {
            "weight": 100,
            "preference": {
                "matchExpressions": [
                    {"key": key, "operator": "NotIn", "values": list(dict.fromkeys(value for _, value in items))}
                ]
            },
        }
        for key, items in groupby(labels, key=itemgetter(0))
    ]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferences}} if preferences else {}


def _toleration(toleration: Toleration) -> Manifest:
    values = {name: getattr(toleration, name) for name in ("key", "operator", "value", "effect")}
    return _present(**values)


def _mount(volume: Volume) -> Manifest:
    return {"name": volume.name, "mountPath": volume.path, **_present(readOnly=volume.read_only)}


def _present(**fields: Json) -> Manifest:
    """Return the fields that are not empty."""
    return {name: value for name, value in fields.items() if value}
