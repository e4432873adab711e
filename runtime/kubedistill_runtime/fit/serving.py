"""Serving: the memory that an engine needs on each of its GPUs, or in its process on a CPU."""

from dataclasses import dataclass

from kubedistill.contract import Hardware
from kubedistill_runtime.fit.cache import cache_bytes
from kubedistill_runtime.fit.sizes import size_of, text_config
from kubedistill_runtime.fit.weights import DTYPE_BYTES
from kubedistill_runtime.models import Model

_UTILIZATION = 0.92
"""Share of a GPU's memory that vLLM 0.32 uses (gpu_memory_utilization)."""
_HALVES = frozenset({"bfloat16", "float16"})
"""vLLM's names of caches of 16 bits; its other names are of at most 8."""
_CONTEXT_BYTES = 3 * 2**29
"""CUDA's context, NCCL's buffers and CUDA graphs: 1.5 GiB, an estimate."""
_BATCHED_TOKENS = 8192
"""Tokens of vLLM's largest batch on most GPUs (max_num_batched_tokens)."""
_SAMPLED_ROWS = 256
"""Rows of logits that are sampled at a time (max_num_seqs on most GPUs)."""


@dataclass(frozen=True, slots=True)
class Split:
    """How many GPUs share each layer, and how many groups of GPUs share the layers in sequence."""

    tensor: int = 1
    pipeline: int = 1


@dataclass(frozen=True, slots=True)
class ServingMemory:
    """The bytes that an engine needs on each GPU, or in all without GPUs."""

    weights: int
    cache: int
    """For one request of maximum length."""
    working: int = 0
    """Activations of the largest batch, logits, and what the libraries keep."""

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.cache + self.working


@dataclass(frozen=True, slots=True)
class Precision:
    """The dtype of weights and activations, and that of the cache in vLLM's words; None if it is the same."""

    dtype: str
    cache: str | None = None

    @property
    def cache_bytes(self) -> int:
        """Bytes per number in the cache."""
        if self.cache is None or self.cache == "auto":
            return DTYPE_BYTES[self.dtype]
        return 2 if self.cache in _HALVES else 1


_ALONE = Split()


def request_memory(model: Model, *, precision: Precision, tokens: int, split: Split = _ALONE) -> ServingMemory:
    """Return the memory for weights and one request of `tokens`, on each GPU of a split."""
    config, dtype = text_config(model.config), precision.dtype
    cache = cache_bytes(config, tokens=tokens, element_bytes=precision.cache_bytes, tensor_parallel=split.tensor)
    return ServingMemory(model.weights.size(dtype) // (split.tensor * split.pipeline), cache // split.pipeline)


def serving_memory(
    model: Model, *, precision: Precision, tokens: int, split: Split, hardware: Hardware
) -> ServingMemory:
    """Return what an engine needs on this hardware; without GPUs nothing is split."""
    if not hardware.has_gpus:
        return request_memory(model, precision=precision, tokens=tokens)
    found = request_memory(model, precision=precision, tokens=tokens, split=split)
    return ServingMemory(found.weights, found.cache, _working_bytes(model, tensor=split.tensor))


def usable_bytes(hardware: Hardware, *, utilization: float | None = None) -> int | None:
    """Return the memory that an engine may use on each GPU, or in its pod without GPUs; None if unknown."""
    if not hardware.has_gpus:
        return hardware.host_memory
    return None if hardware.memory_per_gpu is None else int(hardware.memory_per_gpu * (utilization or _UTILIZATION))


def _working_bytes(model: Model, *, tensor: int) -> int:
    """Return an estimate of an engine's memory on a GPU besides weights and cache.

    A batch holds its hidden states a few times and the halves of a gated layer, in 16 bits; logits are copied twice in
    float32.
    """
    config = text_config(model.config)
    per_token = (4 * size_of(config, "hidden_size") + 3 * size_of(config, "intermediate_size") // tensor) * 2
    logits = 3 * _SAMPLED_ROWS * size_of(config, "vocab_size") * 4
    return _CONTEXT_BYTES + _BATCHED_TOKENS * per_token + logits
