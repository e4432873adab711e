"""Model folders with the special tokens, stop lists and template semantics of published families, and no weights.

The templates are our own; what they do with roles, ends and generation prompts is what those families do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from kubedistill_runtime.models import Model

_TRIMMED = "{{ message['content'] | trim }}"
_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
)
_HEADERS = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    + _TRIMMED
    + "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_PHI_4 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    + _ALTERNATE
    + "{% set role = 'model' if message['role'] == 'assistant' else "
    "message['role'] %}{{ '<start_of_turn>' + role + '\n' }}" + _TRIMMED + "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# The last reply gets an empty thought where it has none of its own; earlier ones lose theirs.
_QWEN_3 = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{% set answer = message['content'].split('</think>')[-1].lstrip('\n') %}{{ '<|im_start|>assistant\n' }}"
    "{% if loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ answer + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for message in messages %}" + _ALTERNATE + "{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
# The generation prompt opens a thought, which no template writes before a reply that is over.
_R1 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ '<|Assistant|>' + message['content'].split('</think>')[-1] + eos_token }}{% else %}"
    "{{ '<|User|>' + message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family: its special tokens in the order of their ids, and the ids that stop it, by their text."""

    template: str
    special: tuple[str, ...]
    bos: str | None = None
    eos: str
    stops: tuple[str, ...]
    end: str
    """What its template writes after a reply."""
    plain: tuple[str, ...] = ()
    """Added tokens that are not special, such as <think>."""
    sentencepiece: bool = False
    dummy_prefix: bool = False
    """Whether each piece of text between special tokens begins with a space of the tokenizer's own, as in Llama 2."""
    rstrip: bool = False
    """Whether special tokens take the white space after them with them, as Phi-3's do."""


FAMILIES: Mapping[str, Family] = {
    "llama-3.1": Family(
        template="{{ bos_token }}" + _HEADERS, bos="<|begin_of_text|>", eos="<|eot_id|>",
        special=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
                 "<|eot_id|>"),
        stops=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), end="<|eot_id|>",
    ),
    "phi-3-mini-4k": Family(
        template=_PHI, bos="<s>", eos="<|endoftext|>", rstrip=True, sentencepiece=True, dummy_prefix=True,
        special=("<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        stops=("<|endoftext|>", "<|assistant|>", "<|end|>"), end="<|end|>",
    ),
    "phi-3-mini-128k": Family(
        template=_PHI, bos="<s>", eos="<|endoftext|>", rstrip=True, sentencepiece=True, dummy_prefix=True,
        special=("<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        stops=("<|endoftext|>", "<|assistant|>", "<|end|>"), end="<|end|>",
    ),
    "phi-3.5-mini": Family(
        template=_PHI, bos="<s>", eos="<|endoftext|>", rstrip=True, sentencepiece=True, dummy_prefix=True,
        special=("<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        stops=("<|end|>", "<|assistant|>", "<|endoftext|>"), end="<|end|>",
    ),
    "phi-4-mini": Family(
        template=_PHI_4, bos="<|endoftext|>", eos="<|endoftext|>",
        special=("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        stops=("<|end|>", "<|endoftext|>"), end="<|end|>",
    ),
    "gemma-2": Family(
        template=_GEMMA, bos="<bos>", eos="<eos>", sentencepiece=True,
        special=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        stops=("<eos>", "<end_of_turn>"), end="<end_of_turn>",
    ),
    "qwen-2.5": Family(
        template=_CHATML, eos="<|im_end|>", special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        stops=("<|im_end|>", "<|endoftext|>"), end="<|im_end|>",
    ),
    "qwen-3": Family(
        template=_QWEN_3, eos="<|im_end|>", special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        plain=("<think>", "</think>"), stops=("<|im_end|>", "<|endoftext|>"), end="<|im_end|>",
    ),
    "mistral": Family(
        template=_MISTRAL, bos="<s>", eos="</s>", special=("<unk>", "<s>", "</s>"), stops=("</s>",), end="</s>",
        sentencepiece=True, dummy_prefix=True,
    ),
    "deepseek-r1": Family(
        template=_R1, bos="<|begin|>", eos="<|end|>", special=("<|begin|>", "<|end|>", "<|User|>", "<|Assistant|>"),
        plain=("<think>", "</think>"), stops=("<|end|>",), end="<|end|>",
    ),
}  # fmt: skip


def write_chat_model(folder: Path, family: Family, **config: Any) -> Model:
    """Write a model folder's tokenizer, template and configuration; returns it as a model without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(family)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": family.bos, "eos_token": family.eos, "chat_template": family.template}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | named))
    stops = [tokenizer.token_to_id(stop) for stop in family.stops]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops if len(stops) > 1 else stops[0]}))
    values = {"model_type": "llama", "max_position_embeddings": 4096, "eos_token_id": stops[0], **config}
    (folder / "config.json").write_text(json.dumps(values))
    return Model(folder.name, folder, "digest", 0, values)


def build_tokenizer(family: Family) -> Tokenizer:
    """Build a tokenizer of bytes and a few merges: byte-level BPE, or SentencePiece's with byte fallback."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    if family.sentencepiece:
        pieces = [*family.special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "▁a", "th", "▁th", "he"]
        merges = [("▁", "a"), ("t", "h"), ("▁", "th"), ("h", "e")]
        vocabulary = {piece: place for place, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token=pieces[0]))
        spaces, words = (
            [normalizers.Replace(" ", "▁")],
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()],
        )
        if family.dummy_prefix:
            spaces, words = [normalizers.Prepend("▁"), *spaces], [*words, decoders.Strip(" ", 1, 0)]
        tokenizer.normalizer, tokenizer.decoder = normalizers.Sequence(spaces), decoders.Sequence(words)
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        pieces = [*alphabet, "th", "he", "Ġa", "Ġth"]
        merges = [("t", "h"), ("h", "e"), ("Ġ", "a"), ("Ġ", "th")]
        tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(one, special=True, normalized=False, rstrip=family.rstrip) for one in family.special]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken(one, special=False, normalized=False) for one in family.plain])
    return tokenizer
