"""Fit: models that need more memory than their hardware has are refused with the sizes and the smallest change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedistill.chain import StageName
from kubedistill.contract import Hardware
from kubedistill.errors import ModelDoesNotFit
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings_file import load_settings
from kubedistill.placement.hardware import find_hardware
from kubedistill_runtime.checks.fit import check_fit
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.models import Model
from kubedistill_runtime.teachers.served import ServedTeacher
from support.job_folder import JobFolder
from support.large_models import model_of
from support.messages import CheckMessage

GIB = 2**30
EXAMPLES = Path(__file__).parents[3] / "examples"
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 1000, "vocab_size": 0, "intermediate_size": 1}


Changes = dict[str, Any] | None


def gpus(memory: int, *, per_pod: int = 8, pods: int = 1, host: int = 4096) -> Hardware:
    """Return pods of GPUs with so many GiB each."""
    return Hardware(
        accelerator="NVIDIA", gpus_per_pod=per_pod, pods=pods, memory_per_gpu=memory * GIB, host_memory=host * GIB
    )


def cpus(memory: int) -> Hardware:
    return Hardware(host_memory=memory)


def large(name: str) -> dict[str, Any]:
    """Return the changes that give a model the size of a large one."""
    model = model_of(name)
    return {"parameters": model.parameters, "packed": model.packed, "config": model.config}


def check(
    job_folder: JobFolder, *, teacher: dict[str, Any] | None = None, student: dict[str, Any] | None = None
) -> None:
    """Check the job with other models on the hardware of its folder."""
    found = job_folder.resolve()
    (served,) = found.teachers
    assert isinstance(served, ServedTeacher)
    changed = replace(served, model=_sized(served.model, teacher))
    choices: Choices = replace(found, teachers=(changed,), student=_sized(found.student, student))
    check_fit(job_folder.stage_job(), choices)


def _sized(model: Model, changes: Changes) -> Model:
    return replace(model, **(changes or {}))


def on(job_folder: JobFolder, **hardware: Hardware) -> JobFolder:
    """Give stages of a job this hardware."""
    stages: dict[str, StageName] = {"generate": "Generate", "train": "Train", "evaluate": "Evaluate"}
    job_folder.hardware.update({stages[name]: one for name, one in hardware.items()})
    return job_folder


def length(job_folder: JobFolder, tokens: int, *, tensor: int = 1, pipeline: int = 1) -> None:
    job_folder.set("teachers.0.model.maxModelLen", tokens)
    job_folder.set("teachers.0.model.tensorParallelSize", tensor)
    job_folder.set("teachers.0.model.pipelineParallelSize", pipeline)


FITTING: dict[str, tuple[str, int, int, int, Hardware]] = {
    "DeepSeek-V3 on eight H200": ("DeepSeek-V3", 8192, 8, 1, gpus(141)),
    "Llama 405B on two nodes of H100": ("Llama 3.1 405B", 4096, 8, 2, gpus(80, pods=2)),
    "Llama 70B on two A100": ("Llama 3.1 70B", 8192, 2, 1, gpus(80)),
    "Llama 8B on an L4": ("Llama 3.1 8B, AWQ", 8192, 1, 1, gpus(24)),
}
TOO_LARGE: dict[str, tuple[str, int, int, int, Hardware, str]] = {
    "DeepSeek-V3 on eight H100": ("DeepSeek-V3", 8192, 8, 1, gpus(80), "pipelineParallelSize: 2"),
    "Llama 405B on one node of H100": ("Llama 3.1 405B", 4096, 8, 1, gpus(80), "pipelineParallelSize: 2"),
    "Llama 70B on one H100": ("Llama 3.1 70B", 4096, 1, 1, gpus(80), "tensorParallelSize: 2"),
    "Phi-4, whose ten heads four GPUs cannot share": ("Phi-4", 4096, 2, 1, gpus(16), "pipelineParallelSize: 2"),
    "a cache that is too long": ("Llama 3.1 70B", 131072, 4, 1, gpus(48), "maxModelLen: "),
}


@pytest.mark.parametrize("case", FITTING)
def test_teachers_fit_where_people_run_them(case: str, job_folder: JobFolder) -> None:
    name, tokens, tensor, pipeline, hardware = FITTING[case]
    length(job_folder, tokens, tensor=tensor, pipeline=pipeline)
    check(on(job_folder, generate=hardware), teacher=large(name))


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_teacher_that_does_not_fit_is_refused_with_the_smallest_change(
    case: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    name, tokens, tensor, pipeline, hardware, change = TOO_LARGE[case]
    length(job_folder, tokens, tensor=tensor, pipeline=pipeline)
    with pytest.raises(ModelDoesNotFit) as refused:
        check(on(job_folder, generate=hardware), teacher=large(name))
    assert refused.value.at == "spec.teachers[0].model"
    assert change in refused.value.fix
    check_message(refused.value)


@pytest.mark.parametrize("case", TOO_LARGE)
def test_the_change_that_is_named_fits(case: str, job_folder: JobFolder) -> None:
    name, tokens, tensor, pipeline, hardware, _ = TOO_LARGE[case]
    length(job_folder, tokens, tensor=tensor, pipeline=pipeline)
    with pytest.raises(ModelDoesNotFit) as refused:
        check(on(job_folder, generate=hardware), teacher=large(name))
    field, value = refused.value.fix.removeprefix("Set ").split(": ")
    job_folder.set(f"teachers.0.model.{field}", int(value))
    check(job_folder, teacher=large(name))


def test_a_gpu_that_is_one_gib_too_small_is_refused(job_folder: JobFolder) -> None:
    length(job_folder, 4096)
    smallest = next(size for size in range(16, 40) if _fits(job_folder, gpus(size)))
    assert 19 <= smallest <= 24, "16 GB of weights, 0.5 of cache and some GiB of working memory, of 92 %"
    assert not _fits(job_folder, gpus(smallest - 1))


def _fits(job_folder: JobFolder, hardware: Hardware) -> bool:
    try:
        check(on(job_folder, generate=hardware), teacher=large("Llama 3.1 8B"))
    except ModelDoesNotFit:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kvCacheDtype", "fp8"),
        ("gpuMemoryUtilization", 0.98),
        ("maxModelLen", 65536),
        ("engineArgs", {"max_num_batched_tokens": "2048", "max_num_seqs": "64"}),
        ("engineArgs", {"cpu_offload_gb": "8"}),
    ],
)
def test_settings_of_the_engine_count(field: str, value: Any, job_folder: JobFolder) -> None:
    length(job_folder, 131072, tensor=2)
    on(job_folder, generate=gpus(97))
    with pytest.raises(ModelDoesNotFit):
        check(job_folder, teacher=large("Llama 3.1 70B"))
    job_folder.set(f"teachers.0.model.{field}", value)
    check(job_folder, teacher=large("Llama 3.1 70B"))


def test_weights_that_vllm_quantizes_count_as_quantized(job_folder: JobFolder) -> None:
    """70.6e9 weights need 141 GB, or with 2.1e9 in embedding and head 72.7 GB, of 92 % of 96 GiB."""
    length(job_folder, 4096)
    on(job_folder, generate=gpus(96))
    with pytest.raises(ModelDoesNotFit):
        check(job_folder, teacher=large("Llama 3.1 70B"))
    job_folder.set("teachers.0.model.quantization", "fp8_per_tensor")
    check(job_folder, teacher=large("Llama 3.1 70B"))
    on(job_folder, generate=gpus(80))
    with pytest.raises(ModelDoesNotFit):
        check(job_folder, teacher=large("Llama 3.1 70B"))


def test_a_checkpoint_that_is_quantized_keeps_its_form(job_folder: JobFolder) -> None:
    length(job_folder, 8192, tensor=8)
    job_folder.set("teachers.0.model.quantization", "fp8")
    with pytest.raises(ModelDoesNotFit) as refused:
        check(on(job_folder, generate=gpus(80)), teacher=large("DeepSeek-V3"))
    assert "weights 78.4 GiB" in refused.value.problem


@pytest.mark.parametrize("dtype", ["Float32", "BFloat16"])
def test_on_cpus_weights_and_the_cache_of_one_request_count(dtype: str, job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.dtype", dtype)
    size = {"Float32": 4, "BFloat16": 2}[dtype]
    teacher = {"parameters": 1000, "config": SMALL}
    need = size * (1000 + 2 * 1000 * 64)
    check(on(job_folder, generate=cpus(need)), teacher=teacher)
    with pytest.raises(ModelDoesNotFit) as refused:
        check(on(job_folder, generate=cpus(need - 1)), teacher=teacher)
    assert refused.value.at == "spec.teachers[0].model"


@pytest.mark.parametrize(
    ("student", "workers", "hardware", "fits"),
    [
        pytest.param("Llama 3.1 8B", 8, gpus(80, per_pod=1, pods=8), False, id="Llama 8B on H100"),
        pytest.param("Llama 3.1 8B", 8, gpus(141, per_pod=1, pods=8), False, id="Llama 8B on H200"),
        pytest.param("Phi-4-mini", 8, gpus(80, per_pod=1, pods=8), False, id="Phi-4-mini on A100"),
        pytest.param("Phi-4-mini", 8, gpus(141, per_pod=1, pods=8), True, id="Phi-4-mini on H200"),
        pytest.param("Phi-4-mini", 8, gpus(141, per_pod=1, pods=8, host=64), False, id="in a pod that is too small"),
    ],
)
def test_a_student_is_trained_where_its_states_fit(
    student: str, workers: int, hardware: Hardware, fits: bool, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    job_folder.set("student.resources", {"workers": workers, "gpusPerWorker": 1})
    on(job_folder, train=hardware)
    if fits:
        check(job_folder, student=large(student))
        return
    with pytest.raises(ModelDoesNotFit) as refused:
        check(job_folder, student=large(student))
    assert refused.value.at == "spec.student.model"
    check_message(refused.value)


def test_workers_of_one_machine_share_its_memory(job_folder: JobFolder) -> None:
    student = {"parameters": GIB, "config": {}}
    check(on(job_folder, train=cpus(40 * GIB)), student=student)
    job_folder.set("student.resources.workers", 2)
    with pytest.raises(ModelDoesNotFit):
        check(job_folder, student=student)
    check(on(job_folder, train=cpus(88 * GIB)), student=student)
    check(on(job_folder, train=Hardware(pods=2, host_memory=44 * GIB)), student=student)


def test_shorter_samples_are_the_change_where_they_suffice(job_folder: JobFolder, check_message: CheckMessage) -> None:
    job_folder.set("training.maxLength", 32768)
    job_folder.set("student.resources", {"workers": 8, "gpusPerWorker": 1})
    on(job_folder, train=gpus(141, per_pod=1, pods=8))
    with pytest.raises(ModelDoesNotFit) as refused:
        check(job_folder, student=large("Phi-4-mini"))
    assert refused.value.fix.startswith("Set training.maxLength: ")
    check_message(refused.value)


def test_a_student_must_be_served_too(job_folder: JobFolder, check_message: CheckMessage) -> None:
    with pytest.raises(ModelDoesNotFit) as refused:
        check(on(job_folder, evaluate=gpus(8, per_pod=1)), student=large("Llama 3.1 8B"))
    assert refused.value.at == "spec.student.model"
    check_message(refused.value)


MANIFESTS = {
    "deepseek-v3-to-phi-4-mini": ("DeepSeek-V3", "Phi-4-mini"),
    "llama-405b-to-3b": ("Llama 3.1 405B", "Llama 3.2 3B"),
}


@pytest.mark.parametrize("example", MANIFESTS)
def test_the_manifests_of_the_readme_fit_the_pools_of_the_example_settings(example: str, job_folder: JobFolder) -> None:
    spec, settings = load_manifest(EXAMPLES / example / "job.yaml").spec, load_settings(EXAMPLES / "settings.yaml")
    job_folder.hardware.update(
        find_hardware(spec, namespace="a", pools=settings.pools, resources=settings.cpu_resources)
    )
    (served,) = spec.teachers
    assert served.model is not None
    length(
        job_folder,
        served.model.max_model_len or 4096,
        tensor=served.model.tensor_parallel_size,
        pipeline=served.model.pipeline_parallel_size,
    )
    job_folder.set("training.maxLength", 2048)  # the default for models with so many positions
    job_folder.set("student.resources", {"workers": spec.student.resources.workers, "gpusPerWorker": 1})
    teacher, student = MANIFESTS[example]
    check(job_folder, teacher=large(teacher), student=large(student))
    with pytest.raises(ModelDoesNotFit):
        check(job_folder, teacher=large(teacher), student=large("Llama 3.1 8B"))


def test_sizes_that_nobody_knows_are_not_checked(job_folder: JobFolder) -> None:
    unknown = Hardware(accelerator="NVIDIA", gpus_per_pod=1)
    on(job_folder, generate=unknown, train=unknown, evaluate=unknown)
    check(job_folder, teacher=large("Llama 3.1 405B"), student=large("Llama 3.1 405B"))
