"""The two models: what they look like, and how they are written to disk."""

from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MAX_TOKENS = 512
HEAD_DIM = 32  # the smallest that vLLM's attention kernels take


def teacher_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """2,558,400 parameters."""
    return _llama(tokenizer, layers=6, width=192, heads=6, kv_heads=2, mlp_width=512)


def student_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """295,392 parameters."""
    return _llama(tokenizer, layers=2, width=96, heads=3, kv_heads=1, mlp_width=256)


def _llama(
    tokenizer: PreTrainedTokenizerFast, *, layers: int, width: int, heads: int, kv_heads: int, mlp_width: int
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=HEAD_DIM,
        intermediate_size=mlp_width,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def new_model(config: LlamaConfig, *, seed: int) -> LlamaForCausalLM:
    """A float32 model with random weights. transformers draws them from torch's global generator, hence the seed."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config).float()


def save_model(model: LlamaForCausalLM, *, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an ordinary transformers folder in bfloat16; `model` itself is rounded to bfloat16 by this."""
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    model.save_pretrained(folder)
    # The chat template stays inside tokenizer_config.json: one file less for those who copy the folder by hand.
    tokenizer.save_pretrained(folder, save_jinja_files=False)
