"""engineArgs: what vLLM does not know, or a manifest may not set, is refused with the field and the fix."""

import pytest

from kubedistill.contract import Hardware
from kubedistill.errors import InvalidManifest
from kubedistill_runtime.checks.engine_args import check_cache_dtypes, check_engine_args, describe_ignored
from kubedistill_runtime.validation import validate
from support.job_folder import JobFolder
from support.messages import CheckMessage

GPUS, CPUS = Hardware(accelerator="NVIDIA H200", gpus_per_pod=8), Hardware()
MODEL = "spec.teachers[0].model"
ACCEPTED = {
    "max_num_seqs": "512", "enable_chunked_prefill": "false", "attention_backend": "FLASH_ATTN",
    "cpu_offload_gb": "4", "watermark": "0.01", "optimization_level": "3",
}  # fmt: skip
REFUSED = {
    "max_num_seq": "512",
    "download_dir": "/models",
    "worker_cls": "my.Worker",
    "hf_overrides": "{}",
    "speculative_config": "{}",
    "data_parallel_size": "2",
    "load_format": "dummy",
    "enable_lora": "true",
    "dtype": "float16",
    "max_model_len": "128",
    "max-num-seqs": "512",
    "nonsense": "1",
    "max_num_seqs": "many",
    "enforce_eager": "1",
    "cpu_offload_gb": "true",
    "attention_backend": "3",
}


def test_batching_scheduling_cache_and_kernels_are_accepted(job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.engineArgs", ACCEPTED)
    check_engine_args(job_folder.stage_job().spec)
    assert job_folder.stage_job().spec.teachers[0].model.engine_arguments == {
        "max_num_seqs": 512,
        "enable_chunked_prefill": False,
        "attention_backend": "FLASH_ATTN",
        "cpu_offload_gb": 4,
        "watermark": 0.01,
        "optimization_level": 3,
    }


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(name: str, job_folder: JobFolder, check_message: CheckMessage) -> None:
    job_folder.set("teachers.0.model.engineArgs", {name: REFUSED[name]})
    with pytest.raises(InvalidManifest) as refused:
        check_engine_args(job_folder.stage_job().spec)
    assert refused.value.at == f"{MODEL}.engineArgs.{name}"
    check_message(refused.value, name)


def test_validate_reports_the_same(job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.engineArgs", {"nonsense": "1"})
    assert f"{MODEL}.engineArgs.nonsense" in [one.at for one in validate(job_folder.stage_job()).problems]


def test_a_precision_of_the_cache_is_refused_on_cpus(job_folder: JobFolder, check_message: CheckMessage) -> None:
    job_folder.set("teachers.0.model.kvCacheDtype", "fp8")
    spec = job_folder.stage_job().spec
    check_cache_dtypes(spec, hardware=GPUS)
    with pytest.raises(InvalidManifest) as refused:
        check_cache_dtypes(spec, hardware=CPUS)
    assert refused.value.at == f"{MODEL}.kvCacheDtype"
    check_message(refused.value, "kvCacheDtype", "fp8")


def test_what_has_no_effect_on_cpus_is_noted(job_folder: JobFolder) -> None:
    assert describe_ignored(job_folder.stage_job().spec, hardware=CPUS) == []
    job_folder.set("teachers.0.model.gpuMemoryUtilization", 0.8)
    job_folder.set("teachers.0.model.engineArgs", {"max_num_seqs": "8"})
    spec = job_folder.stage_job().spec
    assert describe_ignored(spec, hardware=GPUS) == []
    assert describe_ignored(spec, hardware=CPUS) == [
        f"{MODEL}.gpuMemoryUtilization has no effect on CPUs",
        f"{MODEL}.engineArgs has no effect on CPUs",
    ]
