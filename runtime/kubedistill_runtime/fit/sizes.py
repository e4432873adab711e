"""Sizes: the language model in a configuration, and its numbers."""

from collections.abc import Mapping

from kubedistill.json_values import Json

_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
# As vLLM reads them (model_arch_config_convertor.py), in its order.
_KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
_HEAD_SIZES = ("head_dim", "attention_head_dim", "kv_channels")


def text_config(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the part of a configuration that describes the language model, or all of it if it has no parts."""
    return next((part for name in _TEXT_CONFIGS if isinstance(part := config.get(name), dict)), config)


def size_of(config: Mapping[str, Json], *names: str) -> int:
    """Return the first size in a configuration that has one of these names, or 0 if it has none."""
    found = (config.get(name) for name in names)
    return next((size for size in found if isinstance(size, int) and not isinstance(size, bool)), 0)


def layers_of(config: Mapping[str, Json]) -> int:
    """Return the number of layers, or 0 if a configuration does not say."""
    return size_of(config, *_LAYERS)


def hidden_size_of(config: Mapping[str, Json]) -> int:
    """Return the size of the hidden states, or 0 if a configuration does not say."""
    return size_of(config, *_HIDDEN)


def heads_of(config: Mapping[str, Json]) -> int:
    """Return the number of attention heads, or 0 if a configuration does not say."""
    return size_of(config, *_HEADS)


def kv_heads_of(config: Mapping[str, Json]) -> int:
    """Return the number of heads with keys and values of their own: all of them if a configuration does not say."""
    if config.get("multi_query") and not config.get("new_decoder_architecture"):  # Falcon
        return 1
    nested = config.get("attn_config")  # DBRX
    return (size_of(nested, "kv_n_heads") if isinstance(nested, dict) else size_of(config, *_KV_HEADS)) or heads_of(
        config
    )


def head_size_of(config: Mapping[str, Json]) -> int:
    """Return the numbers in one head of queries, keys or values."""
    return size_of(config, *_HEAD_SIZES) or hidden_size_of(config) // max(heads_of(config), 1)
