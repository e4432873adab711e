"""The arguments of an engine: on CPUs what makes replies repeatable, on GPUs vLLM's defaults and the manifest."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from vllm.usage.usage_lib import UsageContext

from kubedistill.contract import Hardware
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.arguments import engine_arguments
from kubedistill_runtime.serving.async_engine import _make
from kubedistill_runtime.serving.engine import Constraint, Serving

CONFIG = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
MODEL = Model("hf://a/b", Path("/models/b"), "digest", 1000, CONFIG)
CPU = Serving(MODEL, max_model_len=128, k=4)
GPU = replace(CPU, dtype="BFloat16", hardware=Hardware(accelerator="NVIDIA H200", gpus_per_pod=8))
OF_CPUS = {
    "max_num_seqs", "enable_chunked_prefill", "enable_prefix_caching", "max_num_batched_tokens",
    "kv_cache_memory_bytes", "enforce_eager",
}  # fmt: skip


def test_engines_on_cpus_run_the_same_kernels_again() -> None:
    assert engine_arguments(CPU) == {
        "model": "/models/b",
        "dtype": "float32",
        "quantization": None,
        "trust_remote_code": False,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "max_model_len": 128,
        "max_num_seqs": 256,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "max_num_batched_tokens": 8192,
        "kv_cache_memory_bytes": 64 * 2**20,
        "enforce_eager": True,
        "max_logprobs": 4,
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
    }


def test_fields_for_gpus_change_nothing_on_cpus() -> None:
    tuned = replace(CPU, expert_parallel=True, gpu_memory_utilization=0.5, engine_arguments={"max_num_seqs": 8})
    assert engine_arguments(tuned) == engine_arguments(CPU)


def test_engines_on_gpus_leave_the_rest_to_vllm() -> None:
    on_gpus, on_cpus = engine_arguments(GPU), engine_arguments(CPU)
    assert on_cpus.keys() - on_gpus.keys() == OF_CPUS
    assert on_gpus.keys() - on_cpus.keys() == {"distributed_executor_backend", "enable_expert_parallel"}
    assert (on_gpus["dtype"], on_gpus["logprobs_mode"], on_gpus["max_logprobs"]) == ("bfloat16", "raw_logprobs", 4)


@pytest.mark.parametrize(("tensor", "pipeline", "executor"), [(1, 1, "uni"), (8, 1, "ray"), (1, 2, "ray")])
def test_the_executor_is_explicit(tensor: int, pipeline: int, executor: str) -> None:
    serving = replace(GPU, tensor_parallel_size=tensor, pipeline_parallel_size=pipeline)
    assert engine_arguments(serving)["distributed_executor_backend"] == executor


def test_the_manifest_decides_on_gpus() -> None:
    serving = replace(
        GPU,
        expert_parallel=True,
        kv_cache_dtype="fp8",
        gpu_memory_utilization=0.8,
        engine_arguments={"max_num_seqs": 512, "attention_backend": "FLASHINFER"},
    )
    plain = engine_arguments(GPU)
    assert {name: value for name, value in engine_arguments(serving).items() if plain.get(name) != value} == {
        "enable_expert_parallel": True,
        "kv_cache_dtype": "fp8",
        "gpu_memory_utilization": 0.8,
        "max_num_seqs": 512,
        "attention_backend": "FLASHINFER",
    }


@pytest.mark.parametrize("serving", [CPU, GPU], ids=["CPU", "GPU"])
def test_an_engine_loads_a_tokenizer_only_for_forms(serving: Serving) -> None:
    constrained = replace(serving, constraint=Constraint(choices=("yes", "no")))
    assert engine_arguments(serving)["skip_tokenizer_init"] is True
    assert engine_arguments(constrained)["skip_tokenizer_init"] is False


def test_an_engine_for_several_batches_has_the_sizes_of_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default an AsyncLLM has 128 requests and 2,048 tokens at a time, on an H100 an eighth of those of LLM."""
    made: list[UsageContext] = []
    module = SimpleNamespace(
        AsyncLLM=SimpleNamespace(from_engine_args=lambda _, *, usage_context: made.append(usage_context))
    )
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.async_llm", module)
    asyncio.run(_make(None))  # type: ignore[arg-type]
    assert made == [UsageContext.LLM_CLASS]
