"""The KV cache: the bytes that one request occupies, as vLLM allocates them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubedistill.json_values import Json, as_object
from kubedistill_runtime.fit.sizes import head_size_of, heads_of, kv_heads_of, layers_of, size_of

_FULL, _SLIDING = "full_attention", "sliding_attention"
_ATTENTION = frozenset({_FULL, _SLIDING, "chunked_attention", "attention", "hybrid"})
"""Kinds of layers that keep keys and values; Zamba's hybrid layers have attention too."""
_GEMMA4_GLOBAL_HEAD = 512
"""Numbers in a head of full attention, where Gemma 4's configuration does not say."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that keeps keys and values."""

    window: int
    """Tokens that it keeps; 0 for all."""
    heads: int
    """Heads with keys and values, which tensor parallelism divides; 0 for one compressed vector per token."""
    head_size: int
    """Numbers in a head, or in the compressed vector."""

    def tokens(self, tokens: int, *, in_flight: int) -> int:
        """Return how many of a request's tokens it keeps, while some are computed at the same time."""
        return min(tokens, self.window + in_flight) if self.window else tokens

    def numbers(self, *, tensor_parallel: int) -> int:
        """Return the numbers per token on each GPU."""
        return 2 * max(1, self.heads // tensor_parallel) * self.head_size if self.heads else self.head_size


def cache_bytes(
    config: Mapping[str, Json], *, tokens: int, element_bytes: float, tensor_parallel: int = 1, in_flight: int = 0
) -> int:
    """Return the bytes of one request's cache on each GPU that shares the layers.

    `config` is the configuration of the language model. A sliding layer keeps its window alone, and the tokens that
    are `in_flight`: vLLM frees what left the window after they are computed. With multi-head latent attention a layer
    keeps one compressed vector per token, which tensor parallelism does not divide.
    """
    numbers = sum(
        layer.tokens(tokens, in_flight=in_flight) * layer.numbers(tensor_parallel=tensor_parallel)
        for layer in _layers(config)
    )
    return int(numbers * element_bytes)


def _layers(config: Mapping[str, Json]) -> list[_Layer]:
    """Return the layers that keep keys and values of their own; others keep a state of constant size, or nothing."""
    if blocks := config.get("block_configs"):  # Llama Nemotron, whose layers differ
        return _layers_of_blocks(config, blocks if isinstance(blocks, list) else [])
    if rank := size_of(config, "kv_lora_rank"):
        return [_Layer(0, 0, rank + size_of(config, "qk_rope_head_dim"))] * len(_kinds(config))
    window = 0 if config.get("use_sliding_window") is False else size_of(config, "sliding_window")
    sliding = _Layer(window, kv_heads_of(config), head_size_of(config))
    full = _full_layer(config) if heads_of(config) else _Layer(0, 0, 0)
    kinds = _kinds(config)
    own = kinds[: len(kinds) - size_of(config, "num_kv_shared_layers")]  # the last ones read the cache of others
    return [sliding if kind == _SLIDING else full for kind in own]


def _full_layer(config: Mapping[str, Json]) -> _Layer:
    heads, head_size = kv_heads_of(config), head_size_of(config)
    if str(config.get("model_type")).startswith("gemma4"):
        head_size = size_of(config, "global_head_dim") or _GEMMA4_GLOBAL_HEAD
        if config.get("attention_k_eq_v"):
            heads = size_of(config, "num_global_key_value_heads") or heads
    return _Layer(0, heads, head_size)


def _layers_of_blocks(config: Mapping[str, Json], blocks: Sequence[Json]) -> list[_Layer]:
    """Return the layers with attention of a model whose configuration describes each of its layers."""
    groups = (size_of(as_object(as_object(block).get("attention")), "n_heads_in_group") for block in blocks)
    return [_Layer(0, heads_of(config) // group, head_size_of(config)) for group in groups if group]


def _kinds(config: Mapping[str, Json]) -> list[str]:
    """Return the kind of each layer with attention."""
    layers = layers_of(config)
    kinds = next((found for name in ("layer_types", "layers_block_type") if (found := config.get(name))), None)
    if isinstance(kinds, list):
        return [str(kind) for kind in kinds if kind in _ATTENTION]
    if (count := _count_attention(config, layers=layers)) is not None:
        return [_FULL] * count
    if pattern := size_of(config, "sliding_window_pattern"):  # Gemma 3 of transformers 4: each sixth layer is full
        return [_FULL if (layer + 1) % pattern == 0 else _SLIDING for layer in range(layers)]
    if config.get("model_type") == "gemma2":
        return [_FULL if layer % 2 else _SLIDING for layer in range(layers)]
    return [_SLIDING] * layers


def _count_attention(config: Mapping[str, Json], *, layers: int) -> int | None:
    """Return how many layers of a hybrid model have attention, if its configuration does not list their kinds."""
    if isinstance(pattern := config.get("hybrid_override_pattern"), str):  # Nemotron-H: one letter per layer
        return pattern.count("*")
    if isinstance(places := config.get("attn_layer_indices"), list):  # Bamba
        return len(places)
    if period := size_of(config, "attn_layer_period"):  # Jamba
        return len(range(size_of(config, "attn_layer_offset"), layers, period))
    if interval := size_of(config, "full_attention_interval"):  # Qwen3-Next
        return layers // interval
    return None
