"""Limits of this version on new runs, for specs that the resource model allows."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec


def check_gpus_per_worker(spec: Spec) -> None:
    """Refuse several GPUs for a training worker, which would use one of them; raises InvalidManifest."""
    resources = spec.student.resources
    if resources.gpus_per_worker > 1:
        raise InvalidManifest(
            f"it is {resources.gpus_per_worker}, but a training worker is one process, which uses one GPU",
            at="spec.student.resources.gpusPerWorker",
            fix=f"Set workers: {resources.workers * resources.gpus_per_worker}, gpusPerWorker: 1",
        )
