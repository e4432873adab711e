"""The hardware of one machine: its GPUs serve every model, and train a student that asks for them."""

from typing import Any

import pytest

from kubedistill.contract import Hardware
from kubedistill.errors import TooFewGPUs
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.serving.local_hardware import (
    Gpu,
    find_gpus,
    find_local_hardware,
    machine_bytes,
    read_gpus,
)
from support.job_folder import JobFolder

GIB = 2**30
TWO = (Gpu("NVIDIA A100", 80 * GIB), Gpu("NVIDIA A100", 79 * GIB))
LISTING = "NVIDIA H200, 143771\nNVIDIA H200, 143771\n\n"


def spec_of(job_folder: JobFolder, **values: Any) -> Spec:
    for path, value in values.items():
        job_folder.set(path.replace("__", "."), value)
    return job_folder.stage_job().spec


def test_gpus_are_read_from_nvidia_smi() -> None:
    assert read_gpus(LISTING) == (Gpu("NVIDIA H200", 143771 * 2**20),) * 2
    assert read_gpus("") == ()


def test_this_environment_has_a_cpu_build_of_vllm_and_so_no_gpus() -> None:
    assert find_gpus() == ()


def test_a_machine_without_gpus_serves_and_trains_on_its_processor(job_folder: JobFolder) -> None:
    spec = spec_of(job_folder, student__resources={"gpusPerWorker": 1, "workers": 8})
    found = find_local_hardware(spec, gpus=())
    assert set(found.values()) == {Hardware(host_memory=machine_bytes())}
    assert machine_bytes() > 256 * 2**20


@pytest.mark.parametrize(("per_worker", "training"), [(0, 0), (1, 1)])
def test_gpus_serve_all_models_and_train_the_student_if_it_asks(
    per_worker: int, training: int, job_folder: JobFolder
) -> None:
    spec = spec_of(job_folder, student__resources={"gpusPerWorker": per_worker, "workers": 2})
    found = find_local_hardware(spec, gpus=TWO)
    assert {stage: one.gpus_per_pod for stage, one in found.items()} == {
        "Generate": 2,
        "Train": training,
        "Evaluate": 1,
    }
    assert found["Generate"].memory_per_gpu == 79 * GIB
    assert found["Generate"].accelerator == "NVIDIA A100"
    assert found["Train"].accelerator == ("NVIDIA A100" if training else "CPU")


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"teachers__0__model__tensorParallelSize": 4}, "spec.teachers[0].model.tensorParallelSize"),
        ({"student__resources": {"workers": 3, "gpusPerWorker": 1}}, "spec.student.resources.workers"),
    ],
)
def test_more_gpus_than_the_machine_has_are_refused(values: dict[str, Any], at: str, job_folder: JobFolder) -> None:
    spec = spec_of(job_folder, **values)
    with pytest.raises(TooFewGPUs) as refused:
        find_local_hardware(spec, gpus=TWO)
    assert refused.value.at == at
