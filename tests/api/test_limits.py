"""Limits of this version: what the resource model allows and no run may use yet."""

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.manifest.limits import check_gpus_per_worker
from kubedistill.v1alpha1 import Spec, StudentResources
from support.fake_cluster import small_spec
from support.messages import CheckMessage


def spec_with(workers: int, gpus: int) -> Spec:
    spec = small_spec()
    resources = StudentResources(pool="a100", workers=workers, gpus_per_worker=gpus)
    return spec.model_copy(update={"student": spec.student.model_copy(update={"resources": resources})})


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_gpu_per_worker_is_used(gpus: int) -> None:
    check_gpus_per_worker(spec_with(8, gpus))


def test_more_gpus_per_worker_are_refused(check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        check_gpus_per_worker(spec_with(2, 4))
    assert refused.value.at == "spec.student.resources.gpusPerWorker"
    check_message(refused.value, "workers: 8", "gpusPerWorker: 1")
