"""The KV cache: the bytes that one request occupies, as vLLM allocates them."""

from collections.abc import Mapping, Sequence

from kubedistill.json_values import Json
from kubedistill_runtime.fit.sizes import size_of

_FULL, _SLIDING = "full_attention", "sliding_attention"
_ATTENTION = frozenset({_FULL, _SLIDING, "chunked_attention", "attention"})


def cache_bytes(config: Mapping[str, Json], *, tokens: int, element_bytes: float, tensor_parallel: int = 1) -> int:
    """Return the bytes of one request's cache on each GPU that shares the layers.

    `config` is the configuration of the language model. A sliding layer keeps its window alone. With multi-head latent
    attention a layer keeps one compressed vector per token, which tensor parallelism does not divide.
    """
    kept = sum(min(tokens, window) if window else tokens for window in _windows(config))
    return int(kept * _numbers_per_token(config, tensor_parallel=tensor_parallel) * element_bytes)


def _numbers_per_token(config: Mapping[str, Json], *, tensor_parallel: int) -> int:
    """Return the numbers that one layer keeps per token on each GPU."""
    if rank := size_of(config, "kv_lora_rank"):
        return rank + size_of(config, "qk_rope_head_dim")
    heads = size_of(config, "num_attention_heads", "n_head")
    hidden = size_of(config, "hidden_size", "n_embd")
    head_dim = size_of(config, "head_dim") or hidden // max(heads, 1)
    kv_heads = size_of(config, "num_key_value_heads") or heads
    return 2 * max(1, kv_heads // tensor_parallel) * head_dim if kv_heads else 0


def _windows(config: Mapping[str, Json]) -> Sequence[int]:
    """Return the window of each layer with attention, in tokens; 0 for full attention."""
    layers = size_of(config, "num_hidden_layers", "n_layer")
    window = size_of(config, "sliding_window")
    if config.get("use_sliding_window") is False:
        window = 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list):  # layers without attention keep a state of constant size
        return [window if kind == _SLIDING else 0 for kind in kinds if kind in _ATTENTION]
    if pattern := size_of(config, "sliding_window_pattern"):  # Gemma 3 of transformers 4: each sixth layer is full
        return [0 if (layer + 1) % pattern == 0 else window for layer in range(layers)]
    if config.get("model_type") == "gemma2":
        return [0 if layer % 2 else window for layer in range(layers)]
    return [window] * layers
