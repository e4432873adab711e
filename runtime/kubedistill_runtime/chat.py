"""Chat formats: from messages to prompt ids and back, with a model's own tokenizer and template."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from kubedistill.errors import InvalidModel
from kubedistill_runtime.models import Model, cannot_load, read_object
from kubedistill_runtime.records import Message


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A tokenizer, its template, and the tokens that end a reply."""

    tokenizer: Any
    stop_ids: tuple[int, ...]
    """Ids that end a reply; the first one is written after a reply that has none."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids that ask for the next reply: all messages and the generation prompt.

        Raises InvalidModel where the template refuses the messages, as some refuse a system message.
        """
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
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                values, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
            )
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages[:6])
            problem = f"its chat template refuses the roles {roles} ({error})"
            fix = "Change the records or the task's systemPrompt, or take another model"
            raise InvalidModel(problem, at=str(self.tokenizer.name_or_path), fix=fix) from error
        return ids


def load_chat_format(model: Model, *, at: str) -> ChatFormat:
    """Load a model's tokenizer and template.

    Raises InvalidModel where transformers can't, and where there is no template or no stop token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # tokenizers raises Exception itself
        raise cannot_load(model, error, what="tokenizer", at=at) from error
    if tokenizer.chat_template is None:
        raise InvalidModel(f"{model.path} has no chat template", at=at, fix="Use an instruction-tuned checkpoint")
    stop_ids = load_stop_ids(model)
    if not stop_ids:
        raise InvalidModel(f"{model.path} names no end-of-sequence token", at=at, fix="Set eos_token_id in its config")
    return ChatFormat(tokenizer, stop_ids)


def load_stop_ids(model: Model) -> tuple[int, ...]:
    """The ids that end a reply, from generation_config.json or config.json (Llama 3 has three)."""
    path = model.path / "generation_config.json"
    settings = read_object(path, at=model.source, fix="Mend or remove it") if path.exists() else {}
    found = [values.get("eos_token_id") for values in (settings, model.config)]
    named: Any = next((ids for ids in found if ids is not None), [])
    return tuple(named) if isinstance(named, list) else (named,)
