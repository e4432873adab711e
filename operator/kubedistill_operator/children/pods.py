"""Pods: what all pods of a child have in common, whichever child they are of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

from kubedistill.settings import Pool, Toleration
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.layout import Site
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.plan import Manifest

STORAGE_PATH = "/kubedistill/storage"
JOB_PATH = "/kubedistill/job"
CONFIG_MAPS_PATH = "/kubedistill/configmaps"
COMMAND = ("python", "-m", "kubedistill_runtime", "--job", f"{JOB_PATH}/job.json")


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and the place where the container has it."""

    name: str
    path: str
    source: Mapping[str, Any]
    read_only: bool = False


def config_map_folders(spec: Spec) -> dict[str, str]:
    """Where a driver has each ConfigMap that the spec names: the `configMaps` of its StageJob."""
    sources = (spec.data.train, spec.data.validation, spec.data.test)
    named = [source.config_map_key_ref.name for source in sources if source and source.config_map_key_ref]
    return {name: f"{CONFIG_MAPS_PATH}/{name}" for name in named}


def storage_volumes(request: ChildRequest) -> tuple[Volume, ...]:
    """The store, for the driver and the workers alike; empty where it is no claim."""
    if request.volume_claim is None:
        return ()
    return (Volume("storage", STORAGE_PATH, {"persistentVolumeClaim": {"claimName": request.volume_claim}}),)


def driver_volumes(request: ChildRequest) -> tuple[Volume, ...]:
    """What a driver reads beside the store: its job, and data that lies in ConfigMaps."""
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
    site: Site,
    volumes: Sequence[Volume] = (),
    environment: Mapping[str, str] | None = None,
    secrets: bool = True,
) -> Manifest:
    """A container without privileges; `secrets` says whether it gets those of spec.pods.envFromSecrets."""
    from_secrets = [{"secretRef": {"name": secret}} for secret in request.spec.pods.env_from_secrets if secrets]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": request.images.pull_policy,
        **_present(
            env=[{"name": key, "value": value} for key, value in (environment or {}).items()],
            envFrom=from_secrets,
        ),
        "resources": _resources(site),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **_present(volumeMounts=[_mount(volume) for volume in volumes]),
    }


def pod_template(
    request: ChildRequest,
    container: Manifest,
    *,
    site: Site,
    volumes: Sequence[Volume] = (),
    restart: Literal["Always", "Never"],
    token: bool,
) -> Manifest:
    """A pod of one container; `token` says whether it may talk to the API server."""
    pods = request.spec.pods
    return {
        "metadata": {"labels": {**pods.labels, **request.labels}, **_present(annotations=dict(pods.annotations))},
        "spec": {
            "restartPolicy": restart,
            "serviceAccountName": request.service_account,
            "automountServiceAccountToken": token,
            # A Service named vllm would otherwise set VLLM_PORT, which vLLM takes for its own.
            "enableServiceLinks": False,
            **_present(
                imagePullSecrets=[{"name": secret} for secret in pods.image_pull_secrets],
                priorityClassName=pods.priority_class_name,
            ),
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            **_whereabouts(site, pools=request.pools),
            "containers": [container],
            **_present(volumes=[{"name": volume.name, **volume.source} for volume in volumes]),
        },
    }


def _resources(site: Site) -> Manifest:
    """Memory and GPUs are held to what was asked for. Cores are not: a limit would only make idle ones useless."""
    gpus = {site.pool.gpu_resource: str(site.gpus)} if site.pool and site.gpus else {}
    return {
        "requests": {"cpu": site.cpu, "memory": site.memory, **gpus},
        "limits": {"memory": site.memory, **gpus},
    }


def _whereabouts(site: Site, *, pools: Mapping[str, Pool]) -> Manifest:
    if site.pool is None:
        return _present(affinity=_away_from_gpus(pools))
    return _present(
        nodeSelector=dict(site.pool.node_selector),
        tolerations=[_toleration(one) for one in site.pool.tolerations],
    )


def _away_from_gpus(pools: Mapping[str, Pool]) -> Manifest:
    """Keep off nodes with GPUs, whose taint may be missing; only a wish, since there may be no others.

    One wish a label, for nodes of all kinds may share some of them.
    """
    labels = sorted(item for pool in pools.values() if pool.gpus_per_node for item in pool.node_selector.items())
    wishes = [
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
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wishes}} if wishes else {}


def _toleration(toleration: Toleration) -> Manifest:
    values = {name: getattr(toleration, name) for name in ("key", "operator", "value", "effect")}
    return _present(**values)


def _mount(volume: Volume) -> Manifest:
    return {"name": volume.name, "mountPath": volume.path, **_present(readOnly=volume.read_only)}


def _present(**fields: Any) -> Manifest:
    """The fields that have something in them."""
    return {name: value for name, value in fields.items() if value}
