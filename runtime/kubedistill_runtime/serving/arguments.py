"""The arguments of vLLM's engine: one pure function of the settings of an engine and the hardware that it runs on."""

from typing import TYPE_CHECKING, TypedDict

from kubedistill_runtime.fit.cache import cache_bytes
from kubedistill_runtime.fit.sizes import text_config
from kubedistill_runtime.fit.weights import DTYPE_BYTES
from kubedistill_runtime.serving.engine import Serving

if TYPE_CHECKING:
    from vllm.usage.usage_lib import UsageContext

MAX_SEQUENCES = 256
"""Requests that run at once on CPUs."""
_MAX_CACHE_BYTES = 2**30
_MIN_BATCHED_TOKENS = 8192
_DTYPES = {"Float32": "float32", "BFloat16": "bfloat16", "Float16": "float16"}
_Value = bool | int | float | str | None


class Grammars(TypedDict):
    """vLLM's settings of forms that replies are forced into."""

    backend: str
    disable_any_whitespace: bool


_GRAMMARS = Grammars(backend="xgrammar", disable_any_whitespace=True)
"""One backend, so that a form has one meaning. A model that may write white space within JSON may write only that."""


def engine_arguments(serving: Serving) -> dict[str, _Value | Grammars]:
    """Return the values of vLLM's EngineArgs for an engine."""
    return {
        "model": str(serving.model.path),
        "dtype": _DTYPES[serving.dtype],
        "quantization": serving.quantization,
        "trust_remote_code": serving.model.trust_remote_code,
        "tensor_parallel_size": serving.tensor_parallel_size,
        "pipeline_parallel_size": serving.pipeline_parallel_size,
        "max_model_len": serving.max_model_len,
        "max_logprobs": max(serving.k, 1),
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": serving.constraint is None,
        "structured_outputs_config": _GRAMMARS,
        "disable_log_stats": True,
        **(_on_gpus(serving) if serving.hardware.has_gpus else _on_cpus(serving)),
    }


def usage_context() -> "UsageContext":
    """Return the use that vLLM chooses the sizes of its batches for: throughput, as in `LLM`.

    An engine without a use gets 128 requests and 2,048 tokens, an eighth of that on an H100.
    """
    from vllm.usage.usage_lib import UsageContext

    return UsageContext.LLM_CLASS


def _on_gpus(serving: Serving) -> dict[str, _Value]:
    """Return the arguments for GPUs, where vLLM's own defaults hold for everything that the manifest leaves open.

    The executor is explicit: vLLM compares the number of GPUs with those of one node before it looks for Ray.
    """
    chosen: dict[str, _Value] = {
        "kv_cache_dtype": serving.kv_cache_dtype,
        "gpu_memory_utilization": serving.gpu_memory_utilization,
    }
    return {
        "distributed_executor_backend": "ray" if serving.gpus > 1 else "uni",
        "enable_expert_parallel": serving.expert_parallel,
        **{name: value for name, value in chosen.items() if value is not None},
        **serving.engine_arguments,
    }


def _on_cpus(serving: Serving) -> dict[str, _Value]:
    """Return the arguments for CPUs, with which the same prompts give the same replies.

    Chunked prefill resets a request's random generator, which kills the CPU engine. After a kill, the same prompts must
    run through the same kernels again.
    """
    return {
        "max_num_seqs": MAX_SEQUENCES,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "max_num_batched_tokens": max(serving.max_model_len, _MIN_BATCHED_TOKENS),
        "kv_cache_memory_bytes": _cache_bytes(serving),
        "enforce_eager": True,
    }


def _cache_bytes(serving: Serving) -> int:
    """Return the size of the KV cache: a full batch up to a limit, but at least one request of maximum length.

    Prompts are not split, so a layer with a sliding window holds a whole prompt too.
    """
    config = {**text_config(serving.model.config), "sliding_window": None}
    one = cache_bytes(config, tokens=2 * serving.max_model_len, element_bytes=DTYPE_BYTES[serving.dtype])
    return max(one, min(MAX_SEQUENCES * one, _MAX_CACHE_BYTES), 64 * 2**20)
