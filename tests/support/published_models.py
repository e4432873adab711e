"""Tiny models whose configurations have the form in which real ones were published, by transformers 4."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 96
_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "initializer_range": 0.5, "use_cache": True,
    "attention_dropout": 0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Published:
    """A model as it is on a hub, and the oldest transformers 4 that knows its architecture."""

    version: str
    config: dict[str, Any]
    generation: dict[str, Any] | None = field(default_factory=lambda: {"eos_token_id": 2, "do_sample": True})


PUBLISHED = {
    "Llama 3.1": Published(
        "4.43.1",
        {
            "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1,
            "eos_token_id": [2, 3, 4], "hidden_act": "silu", "max_position_embeddings": 131072, "mlp_bias": False,
            "model_type": "llama", "pretraining_tp": 1, "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3",
            },
            "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            "transformers_version": "4.42.3",
        },
        {"bos_token_id": 1, "do_sample": True, "eos_token_id": [2, 3, 4], "temperature": 0.6, "top_p": 0.9},
    ),
    "Phi-4-mini": Published(
        "4.49.0",
        {
            "architectures": ["Phi3ForCausalLM"], "attention_bias": False,
            "auto_map": {
                "AutoConfig": "configuration_phi3.Phi3Config",
                "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM", "AutoTokenizer": "Xenova/gpt-4o",
            },
            "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 2, "full_attn_mod": 1, "hidden_act": "silu",
            "interpolate_factor": 1, "lm_head_bias": False, "max_position_embeddings": 131072, "mlp_bias": False,
            "model_type": "phi3", "original_max_position_embeddings": 4096, "pad_token_id": 0,
            "partial_rotary_factor": 0.75, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "long_factor": [1.0, 1.2, 1.5, 4.0, 9.0, 20.0], "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5],
                "type": "longrope",
            },
            "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
            "transformers_version": "4.45.0",
        },
    ),
    "Qwen 2.5": Published(
        "4.37.0",
        {
            "architectures": ["Qwen2ForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "max_position_embeddings": 32768, "max_window_layers": 4, "model_type": "qwen2", "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
            "transformers_version": "4.43.1", "use_sliding_window": False,
        },
        {
            "bos_token_id": 1, "pad_token_id": 1, "do_sample": True, "eos_token_id": [2, 1],
            "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "transformers_version": "4.37.0",
        },
    ),
    "Gemma 3": Published(
        "4.50.0",
        {
            "architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": None,
            "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 3],
            "final_logit_softcapping": None, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh",
            "max_position_embeddings": 32768, "model_type": "gemma3_text", "pad_token_id": 0,
            "query_pre_attn_scalar": 16, "rms_norm_eps": 1e-06, "rope_local_base_freq": 100, "rope_scaling": None,
            "rope_theta": 5000000, "sliding_window": 8, "sliding_window_pattern": 2, "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0.dev0",
        },
    ),
    "Gemma 2": Published(
        "4.43.1",
        {
            "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": 50.0,
            "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0,
            "head_dim": 16, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
            "max_position_embeddings": 8192, "model_type": "gemma2", "pad_token_id": 0, "query_pre_attn_scalar": 16,
            "rms_norm_eps": 1e-06, "rope_theta": 20000.0, "sliding_window": 4096, "torch_dtype": "float32",
            "transformers_version": "4.42.0.dev0",
        },
        None,
    ),
    "Llama, stretched, whose settings transformers 5 refuses to save": Published(
        "4.37.0",
        {
            "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 4.0, "type": "linear"}, "tie_word_embeddings": False, "torch_dtype": "float16",
            "transformers_version": "4.31.0",
        },
        {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "temperature": 0.9, "top_p": 0.6},
    ),
    "Mixtral": Published(
        "4.37.0",
        {
            "architectures": ["MixtralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "max_position_embeddings": 32768, "model_type": "mixtral", "num_experts_per_tok": 2,
            "num_local_experts": 4, "output_router_logits": False, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02, "sliding_window": None, "tie_word_embeddings": False,
            "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0",
        },
    ),
}  # fmt: skip


def write_published(published: Published, folder: Path) -> None:
    """Write a model of random weights, in the precision that its configuration names, and its published files."""
    folder.mkdir()
    values = {**_SIZES, **published.config}
    (folder / "config.json").write_text(json.dumps(values, indent=2))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    model.to(getattr(torch, values["torch_dtype"])).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(values, indent=2))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if published.generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(published.generation))
    tokens = {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
