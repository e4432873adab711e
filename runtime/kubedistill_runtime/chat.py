"""Chat formats: from messages to prompt ids and back, with a model's own tokenizer and template."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubedistill.errors import InvalidModel
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A tokenizer, its template, and the tokens that end a reply."""

    tokenizer: Any
    stop_ids: tuple[int, ...]
    """Ids that end a reply; the first one is written after a reply that has none."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids that ask for the next reply: all messages and the generation prompt."""
        return self._render(messages, add_generation_prompt=True)

    def reply_ids(self, text: str) -> list[int]:
        """The ids of a reply that was given as text, with the stop token at its end."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return [*ids, self.stop_ids[0]]

    def text(self, ids: Sequence[int]) -> str:
        """The text of a reply without its special tokens."""
        decoded: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return decoded

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        values = [{"role": message.role, "content": message.content} for message in messages]
        ids: list[int] = self.tokenizer.apply_chat_template(
            values, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
        )
        return ids


def load_chat_format(model: Model, *, at: str) -> ChatFormat:
    """Load a model's tokenizer and template; raises InvalidModel where it has no template or no stop token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
    if tokenizer.chat_template is None:
        raise InvalidModel(f"{model.path} has no chat template", at=at, fix="Use an instruction-tuned checkpoint")
    stop_ids = load_stop_ids(model)
    if not stop_ids:
        raise InvalidModel(f"{model.path} names no end-of-sequence token", at=at, fix="Set eos_token_id in its config")
    return ChatFormat(tokenizer, stop_ids)


def load_stop_ids(model: Model) -> tuple[int, ...]:
    """The ids that end a reply, from generation_config.json or config.json (Llama 3 has three)."""
    path = model.path / "generation_config.json"
    settings = json.loads(path.read_bytes()) if path.exists() else {}
    found = settings.get("eos_token_id", model.config.get("eos_token_id"))
    return tuple(int(token) for token in (found if isinstance(found, list) else [found]) if token is not None)
