"""Loading of a chat format; the template shows which stop id ends a reply."""

import datetime
from dataclasses import replace
from typing import TYPE_CHECKING

from kubedistill.errors import InvalidModel
from kubedistill_runtime.chat.format import PROBE, ChatFormat
from kubedistill_runtime.chat.plain import read_special_tokens
from kubedistill_runtime.chat.template import load_stop_ids, reasoning_markers
from kubedistill_runtime.models import Model, cannot_load
from kubedistill_runtime.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_STOP = "Add it to eos_token_id in generation_config.json"


def load_chat_format(
    model: Model, *, at: str, date: datetime.date | None = None, generates: bool = False
) -> ChatFormat:
    """Load a model's tokenizer and template, and find the token that ends its replies.

    Raises InvalidModel if transformers can't load them, if there is no template, if the template omits the reply, or if
    no token at the end of a reply is a stop id. A model that `generates` without training is also refused if the token
    that its template writes after a reply would not stop it.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # tokenizers raises Exception itself
        raise cannot_load(model, error, what="tokenizer", at=at) from error
    if tokenizer.chat_template is None:
        raise InvalidModel(f"{model.path} has no chat template", at=at, fix="Use an instruction-tuned checkpoint")
    template = tokenizer.get_chat_template()
    if (stop_ids := load_stop_ids(model)) == ():
        raise InvalidModel(f"{model.path} names no end-of-sequence token", at=at, fix="Set eos_token_id in its config")
    chat = ChatFormat(
        tokenizer,
        stop_ids,
        stop_ids[0],
        date if "strftime_now" in template else None,
        reasoning_markers(template),
        read_special_tokens(tokenizer, stop_ids=stop_ids),
        model.template_variables,
    )
    return replace(chat, end_id=_find_end(chat, at=at, generates=generates))


def _find_end(chat: ChatFormat, *, at: str, generates: bool) -> int:
    """Return the stop id that the template writes after a reply, otherwise the tokenizer's end-of-sequence id."""
    rendered = chat.render([Message("user", "?"), Message("assistant", PROBE)], asking=False)
    if PROBE not in rendered:
        raise InvalidModel(
            "its chat template omits the text of a message; it may expect content in parts, for images",
            at=at,
            fix="Use a language model, or a template that writes message['content'] as a string",
        )
    after = chat.tokenizer.encode(rendered.rpartition(PROBE)[2], add_special_tokens=False)
    found = next((one for one in after if one in chat.stop_ids), None)
    if found is not None:
        return int(found)
    ending = _first_special(after, tokenizer=chat.tokenizer)
    if generates and ending is not None:
        raise InvalidModel(
            f"its chat template ends a reply with {ending!r}, which is not a stop token, so no answer would end",
            at=at,
            fix=_STOP,
        )
    own: int | None = chat.tokenizer.eos_token_id
    if own is None or own not in chat.stop_ids:
        said = f"{ending!r} after a reply" if ending is not None else "no token after a reply"
        raise InvalidModel(
            f"its chat template writes {said}, but neither that nor the tokenizer's end of sequence is a stop token",
            at=at,
            fix=_STOP,
        )
    return own


def _first_special(ids: list[int], *, tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Return the first added special token after a reply, or None; plain text such as a newline ends no reply."""
    added = tokenizer.added_tokens_decoder
    return next((added[one].content for one in ids if one in added and added[one].special), None)
