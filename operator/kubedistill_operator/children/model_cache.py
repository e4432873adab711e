"""The folder for downloads from the Hugging Face hub: in a claim of the job, in a pod's scratch, or in the store."""

from collections.abc import Sequence
from pathlib import Path

from kubedistill.paths import HUB_SCHEME, locate
from kubedistill.placement.layout import Placement
from kubedistill.v1alpha1 import Spec, hub_models
from kubedistill_operator.children.pods import Volume
from kubedistill_operator.children.request import ChildRequest

MODELS_PATH = "/kubedistill/models"
SCRATCH_PATH = "/kubedistill/scratch"
_FOLDER = "huggingface"


def model_volumes(request: ChildRequest, placement: Placement) -> tuple[Volume, ...]:
    """Return the volume for downloads of a pod: the job's claim, or the scratch of its pool; empty without both."""
    if not uses_hub(request.spec):
        return ()
    cache, pool = request.spec.model_cache, placement.pool
    if cache is not None:
        return (Volume("models", MODELS_PATH, {"persistentVolumeClaim": {"claimName": cache.volume_claim}}),)
    if pool is None or pool.scratch is None:
        return ()
    claim = {
        "accessModes": ["ReadWriteOnce"],
        **({"storageClassName": pool.scratch.storage_class} if pool.scratch.storage_class else {}),
        "resources": {"requests": {"storage": pool.scratch.size}},
    }
    return (Volume("scratch", SCRATCH_PATH, {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}),)


def hub_variables(request: ChildRequest, volumes: Sequence[Volume]) -> dict[str, str]:
    """Return the variable that places downloads into the first of these that a pod mounts; else they are in /tmp."""
    if not uses_hub(request.spec):
        return {}
    names = {volume.name for volume in volumes}
    if request.spec.model_cache is not None and "models" in names:
        return {"HF_HOME": str(Path(MODELS_PATH, request.spec.model_cache.path))}
    if "scratch" in names:
        return {"HF_HOME": f"{SCRATCH_PATH}/{_FOLDER}"}
    if "storage" in names:
        store = locate(request.stage_job.store, root=Path("/"), at="spec.storage.uri").path
        return {} if store is None else {"HF_HOME": str(store / _FOLDER)}
    return {}


def uses_hub(spec: Spec) -> bool:
    """Return whether a job downloads models, tokenizers or data files of the hub."""
    sources = (spec.data.train, spec.data.validation, spec.data.test)
    return bool(hub_models(spec)) or any(
        source is not None and source.uri is not None and source.uri.startswith(HUB_SCHEME) for source in sources
    )
