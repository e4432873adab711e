"""The RayJob of a stage that needs GPUs: a Ray cluster of its own, for one attempt."""

import math
import shlex

from kubedistill.contract import CHANNEL_VARIABLE
from kubedistill.placement.layout import Layout, Placement, WorkerGroup
from kubedistill.placement.quantities import mebibytes, number
from kubedistill_operator.children.model_cache import hub_variables, model_volumes
from kubedistill_operator.children.pods import (
    Volume,
    cache_volumes,
    container,
    driver_command,
    driver_volumes,
    image_of,
    pod_template,
    storage_volumes,
)
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.names import HEAD_CONTAINER, SUBMITTER_CONTAINER, WORKER_CONTAINER
from kubedistill_operator.plan import Manifest

_TTL_SECONDS = 2
"""Time from the end of a RayJob to the deletion of its cluster, to read from its pods how it ended."""
_METRICS = {"metrics": 8080}
# Ray's client port is left out: it is not needed, and it runs the code of anybody who connects.
_HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, **_METRICS, "as-metrics": 44217, "dash-metrics": 44227}
_RAY_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0"}
_SUBMITTER = Placement(None, cpu="500m", memory="1Gi")
_MOST_OBJECT_STORE = 16 * 2**30
_LEAST_OBJECT_STORE = 128 * 2**20


def build_rayjob(request: ChildRequest, layout: Layout) -> Manifest:
    """Return a RayJob of one submission to one cluster, which is deleted at the end; the operator does the retries."""
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
    """Return the head, which runs the driver and no worker; if it restarts in place, a second driver continues."""
    volumes = (*driver_volumes(request), *model_volumes(request, placement), _shared_memory(placement))
    driver = container(
        request,
        HEAD_CONTAINER,
        image=image,
        placement=placement,
        volumes=volumes,
        environment={**_RAY_VARIABLES, CHANNEL_VARIABLE: request.channel, **hub_variables(request, volumes)},
    ) | {"ports": _ports(_HEAD_PORTS)}
    return {
        "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "object-store-memory": str(_object_store(placement))},
        "template": pod_template(request, driver, placement=placement, volumes=volumes, restart="Always", token=True),
    }


def _worker_group(request: ChildRequest, group: WorkerGroup, *, image: str) -> Manifest:
    """Return a group of workers, which never restart in place: the cluster replaces a pod, maybe on a better node."""
    placement = group.placement
    volumes = (
        *storage_volumes(request),
        *model_volumes(request, placement),
        *cache_volumes(placement),
        _shared_memory(placement),
    )
    worker = container(
        request,
        WORKER_CONTAINER,
        image=image,
        placement=placement,
        volumes=volumes,
        environment={**_RAY_VARIABLES, **hub_variables(request, volumes)},
    ) | {"ports": _ports(_METRICS)}
    return {
        "groupName": group.name,
        "replicas": group.pods,
        "minReplicas": group.pods,
        "maxReplicas": group.pods,
        "rayStartParams": {
            # Explicit, since Ray knows neither all GPU resource names nor fractional cores.
            "num-cpus": str(max(1, math.floor(number(placement.cpu)))),
            "num-gpus": str(placement.gpus),
            "object-store-memory": str(_object_store(placement)),
        },
        "template": pod_template(
            request, worker, placement=placement, volumes=volumes, restart="Never", token=False, spread=_spread(request)
        ),
    }


def _spread(request: ChildRequest) -> list[Manifest]:
    """Return the constraints that spread the workers of one attempt, but no other pods."""
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
    """Return K8sJobMode's extra pod, which only calls `ray job submit`; KubeRay's own has no security context."""
    submitter = container(request, SUBMITTER_CONTAINER, image=image, placement=_SUBMITTER, secrets=False)
    return pod_template(request, submitter, placement=_SUBMITTER, restart="Never", token=False)


def _ports(ports: dict[str, int]) -> list[Manifest]:
    return [{"name": name, "containerPort": port} for name, port in ports.items()]


def _object_store(placement: Placement) -> int:
    """Return the bytes of Ray's object store: an eighth of the memory, since most data goes through storage."""
    return min(_MOST_OBJECT_STORE, max(_LEAST_OBJECT_STORE, int(number(placement.memory)) // 8))


def _shared_memory(placement: Placement) -> Volume:
    """Return shared memory for the object store, and as much again for NCCL and the inference engine."""
    size = mebibytes(2 * _object_store(placement))
    return Volume("shared-mem", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": size}})  # noqa: S108
