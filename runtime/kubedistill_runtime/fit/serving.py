"""Serving: the memory that an engine needs on each of its GPUs, or in its process on a CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kubedistill.contract import Hardware
from kubedistill.json_values import Json
from kubedistill_runtime.fit.cache import cache_bytes
from kubedistill_runtime.fit.sizes import heads_of, hidden_size_of, kv_heads_of, size_of, text_config
from kubedistill_runtime.fit.weights import DTYPE_BYTES
from kubedistill_runtime.models import Model

_UTILIZATION = 0.92
"""Share of a GPU's memory that vLLM 0.32 uses (gpu_memory_utilization)."""
_HALVES = frozenset({"bfloat16", "float16"})
"""vLLM's names of caches of 16 bits; its other names are of at most 8."""
_EIGHT_BITS = frozenset({"fp8", "fp8_per_tensor", "fp8_per_channel", "fp8_per_block", "mxfp8"})
"""vLLM's names of quantizations of all layers to one byte per weight, while a checkpoint is loaded."""
_CONTEXT_BYTES = 3 * 2**29
"""CUDA's context, NCCL's buffers and CUDA graphs: 1.5 GiB, an estimate."""
_LARGE_GPU = 70 * 2**30
"""Memory from which vLLM chooses larger batches, except on an A100."""


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
    """The dtype of weights and activations; in vLLM's words that of the cache, and a quantization; None for neither."""

    dtype: str
    cache: str | None = None
    quantization: str | None = None

    @property
    def cache_bytes(self) -> int:
        """Bytes per number in the cache."""
        if self.cache is None or self.cache == "auto":
            return DTYPE_BYTES[self.dtype]
        return 2 if self.cache in _HALVES else 1


@dataclass(frozen=True, slots=True)
class Batch:
    """vLLM's largest batch: its tokens (max_num_batched_tokens), and the requests in it (max_num_seqs)."""

    tokens: int
    requests: int


_ALONE = Split()


def request_memory(
    model: Model, *, precision: Precision, tokens: int, split: Split = _ALONE, in_flight: int = 0
) -> ServingMemory:
    """Return the memory for weights and one request of `tokens`, on each GPU of a split.

    `in_flight` is the number of tokens that are computed at the same time.
    """
    config = text_config(model.config)
    cache = cache_bytes(
        config,
        tokens=tokens,
        element_bytes=precision.cache_bytes,
        tensor_parallel=split.tensor,
        in_flight=in_flight,
    )
    return ServingMemory(weight_bytes(model, precision) // (split.tensor * split.pipeline), cache // split.pipeline)


def weight_bytes(model: Model, precision: Precision) -> int:
    """Return the bytes of the weights in an engine.

    While vLLM loads a checkpoint of 16 or 32 bits, it quantizes layer by layer, except embedding and head.
    """
    size = model.weights.size(precision.dtype)
    if precision.quantization not in _EIGHT_BITS or model.weights.packed.parameters:
        return size
    config = text_config(model.config)
    tied = model.config.get("tie_word_embeddings") or config.get("tie_word_embeddings")
    kept = size_of(config, "vocab_size") * hidden_size_of(config) * (1 if tied else 2)
    return size - max(0, model.parameters - kept) * (DTYPE_BYTES[precision.dtype] - 1)


def serving_memory(
    model: Model,
    *,
    precision: Precision,
    tokens: int,
    split: Split,
    hardware: Hardware,
    arguments: Mapping[str, Json] = MappingProxyType({}),
) -> ServingMemory:
    """Return what an engine of this maximum length needs on this hardware; without GPUs nothing is split.

    `arguments` are the further arguments of vLLM.
    """
    if not hardware.has_gpus:  # a prompt is computed whole
        return request_memory(model, precision=precision, tokens=tokens, in_flight=tokens)
    batch = largest_batch(hardware, max_model_len=tokens, arguments=arguments)
    in_flight = batch.tokens * (split.pipeline + 1)  # a batch is scheduled while others are computed
    found = request_memory(model, precision=precision, tokens=tokens, split=split, in_flight=in_flight)
    offloaded = arguments.get("cpu_offload_gb")  # GiB of each GPU's weights, which it reads through the bus
    weights = max(0, found.weights - int(offloaded * 2**30)) if isinstance(offloaded, int | float) else found.weights
    return ServingMemory(weights, found.cache, _working_bytes(model, tensor=split.tensor, batch=batch))


def shares_heads(model: Model, *, tensor: int) -> bool:
    """Return whether so many GPUs can share the heads of each layer evenly, as vLLM demands."""
    config = text_config(model.config)
    shared = 0 if size_of(config, "kv_lora_rank") else kv_heads_of(config)
    return heads_of(config) % tensor == 0 and (shared % tensor == 0 or tensor % shared == 0)


def usable_bytes(hardware: Hardware, *, utilization: float | None = None) -> int | None:
    """Return the memory that an engine may use on each GPU, or in its pod without GPUs; None if unknown."""
    if not hardware.has_gpus:
        return hardware.host_memory
    return None if hardware.memory_per_gpu is None else int(hardware.memory_per_gpu * (utilization or _UTILIZATION))


def largest_batch(
    hardware: Hardware, *, max_model_len: int, arguments: Mapping[str, Json] = MappingProxyType({})
) -> Batch:
    """Return the largest batch of an engine on GPUs with these further arguments of vLLM.

    What they do not set is vLLM's choice for throughput (EngineArgs.get_batch_defaults).
    """
    large = (hardware.memory_per_gpu or 0) >= _LARGE_GPU and "a100" not in hardware.accelerator.lower()
    factor = 2 if arguments.get("performance_mode") == "throughput" else 1
    seqs, batched = arguments.get("max_num_seqs"), arguments.get("max_num_batched_tokens")
    requests = seqs if isinstance(seqs, int) else (1024 if large else 256) * factor
    tokens = min((16384 if large else 8192) * factor, requests * max_model_len)
    tokens = batched if isinstance(batched, int) else tokens
    return Batch(tokens, min(requests, tokens))


def _working_bytes(model: Model, *, tensor: int, batch: Batch) -> int:
    """Return an estimate of an engine's memory on a GPU besides weights and cache.

    A batch holds its hidden states a few times and the halves of a gated layer, in 16 bits; logits are copied twice in
    float32.
    """
    config = text_config(model.config)
    per_token = (4 * hidden_size_of(config) + 3 * size_of(config, "intermediate_size") // tensor) * 2
    logits = 3 * batch.requests * size_of(config, "vocab_size") * 4
    return _CONTEXT_BYTES + batch.tokens * per_token + logits
