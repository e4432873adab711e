"""vLLM's own checks for declared GPUs: what it refused of us before, what it accepts now, and which field is wrong.

One process answers all questions about the installed vLLM, since its import takes 10 s and more.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubedistill.contract import Hardware, JobRef, RunRef, StageJob
from kubedistill.errors import InvalidInput, InvalidManifest, InvalidModel
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings_file import load_settings
from kubedistill.placement.hardware import find_hardware
from kubedistill.v1alpha1 import spec_values
from kubedistill_runtime.choices import choose, find_student, find_teachers
from kubedistill_runtime.fit.serving import largest_batch
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.arguments import engine_arguments
from kubedistill_runtime.serving.declared_gpus import compute_capability
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.serving.precision import serving_dtype
from kubedistill_runtime.serving.vllm_check import COMMAND, VllmReply, VllmWorker, check_engines, refusal_error
from kubedistill_runtime.serving.vllm_check_worker import main
from kubedistill_runtime.student_format import student_serving
from kubedistill_runtime.teachers.served import ServedTeacher
from support.config_models import CONFIGS, write_config_model
from support.messages import CheckMessage

AT = "spec.teachers[0].model.source"
EXAMPLES = Path(__file__).parents[3] / "examples"
H200 = Hardware(accelerator="NVIDIA H200", gpus_per_pod=8, memory_per_gpu=141 * 2**30)
T4 = Hardware(accelerator="Tesla T4", gpus_per_pod=4, memory_per_gpu=16 * 2**30)
A100 = Hardware(accelerator="NVIDIA-A100-SXM4-80GB", gpus_per_pod=8, memory_per_gpu=80 * 2**30)
H100 = Hardware(accelerator="NVIDIA-H100-80GB-HBM3", gpus_per_pod=8, pods=2, memory_per_gpu=80 * 2**30)


WITHOUT_TRITON = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *args: None if name.split(".")[0] == "triton" else find(name, *args))
from kubedistill_runtime.serving import vllm_check_worker
check_heads = vllm_check_worker._check_heads
def show_batch(config):
    batch = config.scheduler_config
    if config.model_config.seed == 20261129:
        raise ValueError(f"{batch.max_num_batched_tokens} tokens, {batch.max_num_seqs} requests")
    check_heads(config)
vllm_check_worker._check_heads = show_batch
vllm_check_worker.main()
"""
"""The process as in the image runtime-cpu, where Prepare runs; this environment has Triton too.

With a certain seed, it shows the largest batch of the configuration.
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[VllmWorker]:
    worker = VllmWorker([sys.executable, "-c", WITHOUT_TRITON])
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in CONFIGS:
        write_config_model(folder / name, name)
    return folder


def serving_of(models: Path, name: str, *, hardware: Hardware = H200, **settings: object) -> Serving:
    """Return an engine as a teacher's would be made, with `dtype: Auto` unless the settings have another."""
    model = Model(name, models / name, "digest", 0, CONFIGS[name])
    dtype = serving_dtype("Auto", config=model.config, hardware=hardware)
    return replace(Serving(model, max_model_len=4096, dtype=dtype, k=32, hardware=hardware, at=AT), **settings)


def ask(worker: VllmWorker, serving: Serving, **changed: object) -> VllmReply:
    """Ask vLLM about the arguments of an engine, some of them changed or, with None, left out."""
    arguments = engine_arguments(serving) | changed
    worker.ask(serving.hardware, {name: value for name, value in arguments.items() if value is not None})
    reply = worker.read()
    assert reply.failure is None
    return reply


@pytest.mark.parametrize("name", CONFIGS)
def test_published_models_are_accepted(name: str, worker: VllmWorker, models: Path) -> None:
    assert ask(worker, serving_of(models, name, tensor_parallel_size=8)).refusal is None


def test_c3_an_fp8_checkpoint_is_not_served_in_float32(worker: VllmWorker, models: Path) -> None:
    auto = serving_of(models, "DeepSeek-V3", tensor_parallel_size=8)
    assert "torch.float32 is not supported for quantization method fp8" in str(
        ask(worker, auto, dtype="float32").refusal
    )
    assert auto.dtype == "BFloat16"
    assert ask(worker, auto).refusal is None


def test_c4_a_teacher_on_two_nodes_has_an_executor(worker: VllmWorker, models: Path) -> None:
    sixteen = serving_of(models, "Llama-3.1-405B", hardware=H100, tensor_parallel_size=8, pipeline_parallel_size=2)
    refused = ask(worker, sixteen, distributed_executor_backend=None).refusal
    assert "World size (16) is larger than the number of available GPUs (8) in this node" in str(refused)
    assert ask(worker, sixteen).refusal is None


def test_c6_vllm_sizes_the_cache_of_each_gpu(worker: VllmWorker, models: Path) -> None:
    serving = serving_of(models, "DeepSeek-V3", tensor_parallel_size=8, gpu_memory_utilization=0.85)
    assert "kv_cache_memory_bytes" not in engine_arguments(serving)
    assert engine_arguments(serving)["gpu_memory_utilization"] == 0.85
    assert ask(worker, serving).refusal is None


def test_c7_nothing_is_set_for_the_cpus_sake(worker: VllmWorker, models: Path) -> None:
    serving = serving_of(models, "Llama-3.1-8B")
    assert not engine_arguments(serving).keys() & {
        "enforce_eager",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "max_num_batched_tokens",
        "max_num_seqs",
    }
    assert ask(worker, serving).refusal is None


@pytest.mark.parametrize("hardware", [H200, H100, A100, T4], ids=lambda one: one.accelerator)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_num_seqs": 4},
        {"max_num_seqs": 512, "max_num_batched_tokens": 2048},
        {"max_num_batched_tokens": 8},
        {"performance_mode": "throughput"},
        {"performance_mode": "throughput", "max_num_seqs": 16},
    ],
    ids=str,
)
def test_memory_is_computed_for_the_batch_that_vllm_chooses(
    settings: dict[str, object], hardware: Hardware, worker: VllmWorker, models: Path
) -> None:
    serving = serving_of(models, "Llama-3.1-8B", hardware=hardware, dtype="Float16", engine_arguments=settings)
    own = largest_batch(hardware, max_model_len=serving.max_model_len, arguments=settings)
    assert ask(worker, serving, seed=20261129).refusal == f"{own.tokens} tokens, {own.requests} requests"


@pytest.mark.parametrize("example", ["deepseek-v3-to-phi-4-mini", "llama-405b-to-3b"])
def test_the_manifests_of_the_readme_are_accepted(example: str, worker: VllmWorker, models: Path) -> None:
    settings = load_settings(EXAMPLES / "settings.yaml")
    job = load_manifest(EXAMPLES / example / "job.yaml")
    values = spec_values(job.spec)
    published = {
        "hf://deepseek-ai/DeepSeek-V3": "DeepSeek-V3",
        "hf://microsoft/Phi-4-mini-instruct": "Phi-4-mini",
        "hf://meta-llama/Llama-3.1-405B-Instruct": "Llama-3.1-405B",
        "hf://meta-llama/Llama-3.2-3B-Instruct": "Llama-3.1-8B",  # the same architecture
    }
    values = json.loads(_renamed(json.dumps(values), published))
    hardware = find_hardware(job.spec, namespace="x", pools=settings.pools, resources=settings.cpu_resources)
    stage_job = StageJob(
        job=JobRef(namespace="x", name=example),
        run=RunRef(id="1", digest="d"),
        stage="Prepare",
        attempt=1,
        token="t",
        frozen_spec=values,
        store=(models / "store").as_uri(),
        data_root=models.as_uri(),
        hardware=hardware,
    )
    teachers, student = find_teachers(stage_job, store=None), find_student(stage_job, store=None)
    choices = choose(stage_job, teachers=teachers, student=student)
    (teacher,) = teachers
    assert isinstance(teacher, ServedTeacher)
    engines = [teacher.serving(k=choices.k), student_serving(student, choices=choices)]
    assert [engine.dtype for engine in engines] == ["BFloat16", "BFloat16"]
    assert [ask(worker, engine).refusal for engine in engines] == [None, None]


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


REFUSED: dict[str, tuple[str, dict[str, object], str]] = {
    "a dtype": ("DeepSeek-V3", {"dtype": "Float32", "tensor_parallel_size": 8}, "model.dtype"),
    "a dtype that the GPU does not have": ("Llama-3.1-8B", {"hardware": T4}, "model.dtype"),
    "heads that can't be divided": ("Llama-3.1-8B", {"tensor_parallel_size": 7}, "model.tensorParallelSize"),
    "heads with keys and values that can't be divided": (
        "Phi-4-mini", {"tensor_parallel_size": 3}, "model.tensorParallelSize",
    ),
    "a quantization that the checkpoint does not have": (
        "Phi-4-mini", {"quantization": "awq"}, "model.quantization",
    ),
    "a precision of the cache": ("Llama-3.1-8B", {"kv_cache_dtype": "fp7"}, "model.kvCacheDtype"),
    "an attention backend": (
        "Llama-3.1-8B", {"engine_arguments": {"attention_backend": "FAST"}}, "model.engineArgs.attention_backend",
    ),
    "a batch that is too small": (
        "Llama-3.1-8B", {"engine_arguments": {"max_num_batched_tokens": 8, "max_num_seqs": 9}},
        "model.engineArgs.max_num_batched_tokens",
    ),
    "a level": ("Llama-3.1-8B", {"engine_arguments": {"optimization_level": 7}}, "model.engineArgs.optimization_level"),
    "experts of a model without experts": ("Llama-3.1-8B", {"expert_parallel": True}, "model.expertParallel"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_the_field(case: str, worker: VllmWorker, models: Path, check_message: CheckMessage) -> None:
    name, settings, field = REFUSED[case]
    serving = serving_of(models, name, **settings)
    error = refusal_error(ask(worker, serving), serving=serving)
    assert (type(error), error.at) == (InvalidManifest, f"spec.teachers[0].{field}")
    check_message(error, field)


def test_a_model_that_vllm_does_not_know_is_named(
    worker: VllmWorker, models: Path, tmp_path: Path, check_message: CheckMessage
) -> None:
    folder = write_config_model(tmp_path / "odd", "Llama-3.1-8B")
    (folder / "config.json").write_text(json.dumps(CONFIGS["Llama-3.1-8B"] | {"architectures": ["OddForCausalLM"]}))
    model = Model("odd", folder, "digest", 0, {})
    serving = replace(serving_of(models, "Llama-3.1-8B"), model=model)
    error = refusal_error(ask(worker, serving), serving=serving)
    assert (type(error), error.at) == (InvalidModel, AT)
    check_message(error, "OddForCausalLM")


def test_a_student_has_no_field_but_its_source(models: Path) -> None:
    serving = replace(serving_of(models, "Phi-4-mini"), at="spec.student.model.source")
    error = refusal_error(VllmReply(refusal="torch.float32 is not supported", argument="dtype"), serving=serving)
    assert (type(error), error.at) == (InvalidModel, "spec.student.model.source")


@pytest.mark.parametrize(
    ("accelerator", "capability"),
    [
        ("NVIDIA H200", (9, 0)), ("NVIDIA-H100-80GB-HBM3", (9, 0)), ("NVIDIA-A100-SXM4-80GB", (8, 0)),
        ("nvidia-l4", (8, 9)), ("NVIDIA A10G", (8, 6)), ("Tesla T4", (7, 5)), ("NVIDIA B200", (10, 0)),
        ("NVIDIA-GeForce-RTX-5090", (12, 0)), ("NVIDIA RTX PRO 6000 Blackwell", (12, 0)), ("NVIDIA GB10", (12, 1)),
        ("NVIDIA-GeForce-RTX-4090", (8, 9)), ("NVIDIA-RTX-6000-Ada-Generation", (8, 9)),
        ("NVIDIA GeForce RTX 3090 Ti", (8, 6)), ("NVIDIA RTX A6000", (8, 6)), ("NVIDIA GeForce RTX 2080 Ti", (7, 5)),
        ("Quadro RTX 6000", (7, 5)), ("Tesla-V100-SXM2-32GB", (7, 0)), ("Tesla P40", (6, 1)), ("Tesla P100", (6, 0)),
        ("gpu-pool", (9, 0)),
    ],
)  # fmt: skip
def test_a_capability_follows_from_the_name_of_the_gpu(accelerator: str, capability: tuple[int, int]) -> None:
    assert compute_capability(accelerator) == capability


def test_the_process_of_the_product_is_the_one_that_is_asked_here() -> None:
    assert COMMAND[1:] == ("-m", main.__module__)


def process_that(*replies: VllmReply, last: str = "pass") -> list[str]:
    """Return a command that reads no question, writes these replies, and ends with a statement."""
    lines = "".join(reply.model_dump_json() + "\n" for reply in replies)
    return [sys.executable, "-c", f"import sys, time; sys.stdout.write({lines!r}); sys.stdout.flush(); {last}"]


def checked(models: Path, command: list[str], *, seconds: float = 60) -> list[str]:
    engines = [serving_of(models, "DeepSeek-V3"), serving_of(models, "Llama-3.1-8B")]
    with check_engines(engines, command=command, seconds=seconds) as read_replies:
        return read_replies()


def test_no_process_is_started_for_engines_on_cpus(models: Path) -> None:
    engine = serving_of(models, "Llama-3.1-8B", hardware=Hardware())
    with check_engines([engine], command=["/no/such/program"]) as read_replies:
        assert read_replies() == []


def test_accepted_engines_have_no_notes(models: Path) -> None:
    assert checked(models, process_that(VllmReply(), VllmReply())) == []


def test_the_first_refusal_ends_the_checks(models: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(models, process_that(VllmReply(refusal="no such kernel"), VllmReply(refusal="another")))
    assert "no such kernel" in str(refused.value)


@pytest.mark.parametrize(
    ("command", "seconds", "reason"),
    [
        (process_that(VllmReply(), VllmReply(failure="no module named x")), 60, "no module named x"),
        (process_that(VllmReply(), last="sys.exit(3)"), 60, "ended with code 3"),
        (process_that(VllmReply(), last="time.sleep(600)"), 1, "ended with code -9"),
    ],
    ids=["what this build lacks", "a crash", "a hang"],
)
def test_what_could_not_be_checked_is_a_note_and_no_refusal(
    command: list[str], seconds: float, reason: str, models: Path
) -> None:
    (note,) = checked(models, command, seconds=seconds)
    assert note.startswith(AT)
    assert reason in note
