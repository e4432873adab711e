"""Large models as tensors without data, with the names, shapes and dtypes of their published checkpoints."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from kubedistill_runtime.fit.weights import count_weights
from kubedistill_runtime.models import Model
from kubedistill_runtime.safetensors_headers import Tensor

_LLAMA = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8, "torch_dtype": "bfloat16"}
_BLOCK = 128
"""Weights that share a scale, in each dimension (DeepSeek's FP8), or along the inputs (AWQ)."""


@dataclass(frozen=True, slots=True)
class Large:
    """A model: its configuration, and what its authors say of its size."""

    config: dict[str, Any]
    parameters: float
    """As the model card states it."""
    cache_per_token: int | None = None
    """Bytes of keys and values in 16 bits, as published or by hand."""
    stored_as: str = "BF16"


LARGE = {
    "Llama 3.1 8B": Large(
        {**_LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
        8.03e9, 131_072,  # huggingface.co/blog/llama31: 15.62 GB at 128,000 tokens
    ),
    "Llama 3.1 8B, AWQ": Large(
        {
            **_LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
        },
        8.03e9, 131_072, "AWQ",
    ),
    "Llama 3.1 70B": Large(
        {**_LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
        70.6e9, 327_680,  # the same page: 39.06 GB at 128,000 tokens
    ),
    "Llama 3.1 405B": Large(
        {
            **_LLAMA, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
            "num_attention_heads": 128,
        },
        405.85e9, 516_096,  # arxiv.org/abs/2505.09343, table 1
    ),
    "Llama 3.2 3B": Large(
        {
            **_LLAMA, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
            "num_attention_heads": 24, "tie_word_embeddings": True,
        },
        3.21e9, 114_688,
    ),
    "DeepSeek-V3": Large(
        {
            "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
            "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
            "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256, "num_experts_per_tok": 8,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
            "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "torch_dtype": "bfloat16",
            "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        },
        671e9, 70_272, "FP8",  # the same table
    ),
    "Phi-4-mini": Large(
        {
            "model_type": "phi3", "vocab_size": 200064, "hidden_size": 3072, "intermediate_size": 8192,
            "num_hidden_layers": 32, "num_attention_heads": 24, "num_key_value_heads": 8, "tie_word_embeddings": True,
            "sliding_window": 262144, "pad_token_id": 199999,
        },
        3.84e9, 131_072,
    ),
    "Phi-4": Large(
        {
            "model_type": "phi3", "vocab_size": 100352, "hidden_size": 5120, "intermediate_size": 17920,
            "num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads": 10, "pad_token_id": 100349,
            "tie_word_embeddings": False, "sliding_window": None,
        },
        14.66e9, 204_800,
    ),
    "Phi-3.5-mini": Large(
        {
            "model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "tie_word_embeddings": False, "sliding_window": 262144,
        },
        3.82e9, 393_216,
    ),
    "Gemma 3 4B": Large(
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
                "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 1024,
                "sliding_window_pattern": 6, "vocab_size": 262208, "tie_word_embeddings": True,
            },
            "vision_config": {
                "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
                "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 896, "patch_size": 14,
            },
        },
        4.30e9,
    ),
    "Mistral Small 24B": Large(
        {
            "model_type": "mistral", "vocab_size": 131072, "hidden_size": 5120, "intermediate_size": 32768,
            "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
            "sliding_window": None,
        },
        23.57e9, 163_840,
    ),
    "Qwen3 8B": Large(
        {
            "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288,
            "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
            "use_sliding_window": False, "sliding_window": None, "tie_word_embeddings": False,
        },
        8.19e9, 147_456,
    ),
    "Qwen3 30B-A3B": Large(
        {
            "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
            "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
            "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
            "tie_word_embeddings": False,
        },
        30.53e9, 98_304,
    ),
}  # fmt: skip


def tensors_of(model: Large) -> dict[str, Tensor]:
    """Return the tensors of a model's checkpoint."""
    kind, *_ = (model.config["model_type"],)
    values = {name: value for name, value in model.config.items() if name not in ("model_type", "quantization_config")}
    makes = AutoModelForImageTextToText if kind == "gemma3" else AutoModelForCausalLM
    with torch.device("meta"):
        made = makes.from_config(AutoConfig.for_model(kind, **values))
    tensors = {name: Tensor("BF16", tuple(one.shape)) for name, one in made.named_parameters()}
    if model.stored_as == "FP8":
        return _with_further_layer(_in_fp8(tensors), layers=model.config["num_hidden_layers"])
    return _in_awq(tensors) if model.stored_as == "AWQ" else tensors


def model_of(name: str) -> Model:
    """Return a model of this size, without files."""
    config = LARGE[name].config
    weights = count_weights(tensors_of(LARGE[name]), config)
    return Model(name, Path(name), "digest", weights.parameters, config, packed=weights.packed)


def _is_linear(name: str, tensor: Tensor) -> bool:
    return len(tensor.shape) >= 2 and not any(word in name for word in ("embed", "lm_head", "mlp.gate.weight"))


def _in_fp8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return linear layers in FP8, with a scale for each block of 128 x 128."""
    stored = dict(tensors)
    for name, tensor in tensors.items():
        if _is_linear(name, tensor):
            *experts, rows, columns = tensor.shape
            stored[name] = Tensor("F8_E4M3", tensor.shape)
            stored[f"{name}_scale_inv"] = Tensor("F32", (*experts, ceil(rows / _BLOCK), ceil(columns / _BLOCK)))
    return stored


def _in_awq(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return linear layers as AWQ packs them: eight 4-bit weights per integer, with scales and zero points."""
    stored = dict(tensors)
    for name, tensor in tensors.items():
        if _is_linear(name, tensor):
            del stored[name]
            outputs, inputs = tensor.shape
            layer = name.removesuffix(".weight")
            stored[f"{layer}.qweight"] = Tensor("I32", (inputs, outputs // 8))
            stored[f"{layer}.qzeros"] = Tensor("I32", (inputs // _BLOCK, outputs // 8))
            stored[f"{layer}.scales"] = Tensor("F16", (inputs // _BLOCK, outputs))
    return stored


def _with_further_layer(tensors: dict[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Return the tensors with a layer that predicts a further token, which has an embedding and a head of its own."""
    last, further = f"layers.{layers - 1}.", f"layers.{layers}."
    more = {name.replace(last, further): tensor for name, tensor in tensors.items() if last in name}
    shared = {f"model.{further}{name}": tensors[f"model.{name}"] for name in ("embed_tokens.weight",)}
    return tensors | more | shared
