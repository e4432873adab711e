"""The RayJob of a stage that needs GPUs: a Ray cluster of its own, for one attempt."""

import math
import shlex

from kubedistill.contract import CHANNEL_VARIABLE
from kubedistill_operator.children.layout import Layout, Placement, WorkerGroup
from kubedistill_operator.children.pods import (
    Volume,
    container,
    driver_command,
    driver_volumes,
    image_of,
    pod_template,
    storage_volumes,
)
from kubedistill_operator.children.quantities import mebibytes, number
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.names import HEAD_CONTAINER, SUBMITTER_CONTAINER, WORKER_CONTAINER
from kubedistill_operator.plan import Manifest

_TTL_SECONDS = 2
"""From a RayJob's end to that of its cluster, which the next stage waits for: time to see in its pods how it ended."""
_METRICS = {"metrics": 8080}
# Ray's client port is left out: nobody here needs it, and it runs anybody's code.
_HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, **_METRICS, "as-metrics": 44217, "dash-metrics": 44227}
_RAY_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0"}
_SUBMITTER = Placement(None, cpu="500m", memory="1Gi")
_MOST_OBJECT_STORE = 16 * 2**30
_LEAST_OBJECT_STORE = 128 * 2**20


def build_rayjob(request: ChildRequest, layout: Layout) -> Manifest:
    """One submission to one cluster, both gone when it has ended; the operator counts attempts and deadlines."""
    settings, image = request.settings, image_of(request.images, layout)
    groups = [_worker_group(request, group, image=image) for group in layout.groups]
    submitter = {"submitterPodTemplate": _submitter(request, image=image)}
    return {
        **KINDS["RayJob"].header,
        "metadata": request.metadata(request.name, labels=request.child_labels),
        "spec": {
            "entrypoint": shlex.join(driver_command(request)),
            "submissionMode": settings.submission_mode,
            "backoffLimit": 0,
            "preRunningDeadlineSeconds": request.spec.scheduling_timeout_seconds,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "rayClusterSpec": {
                "rayVersion": settings.ray_version,
                "authOptions": {"mode": "token"},
                "headGroupSpec": _head_group(request, layout.driver, image=image),
                **({"workerGroupSpecs": groups} if groups else {}),
            },
            **(submitter if settings.submission_mode == "K8sJobMode" else {}),
        },
    }


def _head_group(request: ChildRequest, placement: Placement, *, image: str) -> Manifest:
    """The head runs the driver and no worker, whatever it has. It may restart in place: a second driver goes on."""
    volumes = (*driver_volumes(request), _shared_memory(placement))
    driver = container(
        request,
        HEAD_CONTAINER,
        image=image,
        placement=placement,
        volumes=volumes,
        environment={**_RAY_VARIABLES, CHANNEL_VARIABLE: request.channel},
    ) | {"ports": _ports(_HEAD_PORTS)}
    return {
        "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "object-store-memory": str(_object_store(placement))},
        "template": pod_template(request, driver, placement=placement, volumes=volumes, restart="Always", token=True),
    }


def _worker_group(request: ChildRequest, group: WorkerGroup, *, image: str) -> Manifest:
    """Workers never restart in place: the cluster replaces a pod that failed, maybe on a better node."""
    placement = group.placement
    volumes = (*storage_volumes(request), _shared_memory(placement))
    worker = container(
        request, WORKER_CONTAINER, image=image, placement=placement, volumes=volumes, environment=_RAY_VARIABLES
    ) | {"ports": _ports(_METRICS)}
    return {
        "groupName": group.name,
        "replicas": group.pods,
        "minReplicas": group.pods,
        "maxReplicas": group.pods,
        "rayStartParams": {
            # Spelled out, since Ray knows neither every GPU resource's name nor half a core.
            "num-cpus": str(max(1, math.floor(number(placement.cpu)))),
            "num-gpus": str(placement.gpus),
            "object-store-memory": str(_object_store(placement)),
        },
        "template": pod_template(
            request, worker, placement=placement, volumes=volumes, restart="Never", token=False, spread=_spread(request)
        ),
    }


def _spread(request: ChildRequest) -> list[Manifest]:
    """Return the constraints that keep the workers of one attempt, and no other pods, apart."""
    workers = {"matchLabels": {**request.labels, "ray.io/node-type": "worker"}}
    return [
        {
            "topologyKey": key,
            "maxSkew": spread.max_skew,
            "whenUnsatisfiable": spread.when_unsatisfiable,
            "labelSelector": workers,
        }
        for key, spread in request.settings.topology_spread.items()
    ]


def _submitter(request: ChildRequest, *, image: str) -> Manifest:
    """K8sJobMode's extra pod, which only calls `ray job submit`; KubeRay's own has no security context."""
    submitter = container(request, SUBMITTER_CONTAINER, image=image, placement=_SUBMITTER, secrets=False)
    return pod_template(request, submitter, placement=_SUBMITTER, restart="Never", token=False)


def _ports(ports: dict[str, int]) -> list[Manifest]:
    return [{"name": name, "containerPort": port} for name, port in ports.items()]


def _object_store(placement: Placement) -> int:
    """Bytes for objects that Ray's processes share: an eighth of the memory, for the bulk goes through storage."""
    return min(_MOST_OBJECT_STORE, max(_LEAST_OBJECT_STORE, int(number(placement.memory)) // 8))


def _shared_memory(placement: Placement) -> Volume:
    """Room for the object store, and as much again for NCCL and the inference engine."""
    size = mebibytes(2 * _object_store(placement))
    return Volume("shared-mem", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": size}})  # noqa: S108
