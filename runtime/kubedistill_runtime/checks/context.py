"""Context: a key that holds what a model should see, and is not read, is a reason to refuse a record, not a note."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json
from kubedistill_runtime.records import Message

_INTO_PROMPT = "Write its text into the prompt, or remove the key"
_INTO_TURNS = "Write messages, with what was said before as user and assistant turns, or remove the key"
_INTO_SYSTEM = "Rename it to 'system', or remove the key"
_FIXES = {
    **dict.fromkeys(
        ("context", "contexts", "passage", "passages", "paragraph", "document", "documents", "article", "input"),
        _INTO_PROMPT,
    ),
    **dict.fromkeys(("history", "chat_history", "conversation_history"), _INTO_TURNS),
    **dict.fromkeys(("system_prompt", "system_message"), _INTO_SYSTEM),
}


def refuse_lost_context(values: Mapping[str, Json], messages: Sequence[Message], *, at: str) -> None:
    """Refuse a record with a key of context whose text is in none of its messages; raises InvalidData.

    A column that a prompt was made of is not lost, whatever line breaks the prompt has.
    """
    said = [_squeeze(message.content) for message in messages]
    for key, value in values.items():
        fix = _FIXES.get(key.casefold())
        if fix and any(not any(text in content for content in said) for text in _texts(value)):
            raise InvalidData(f"the key {key!r} is not read, and no message holds its text", at=at, fix=fix)


def _texts(value: Json) -> Iterator[str]:
    """All strings in a JSON value, without those that are blank."""
    if isinstance(value, str):
        if text := _squeeze(value):
            yield text
    elif isinstance(value, list | dict):
        parts: Iterable[Json] = value.values() if isinstance(value, dict) else value
        for part in parts:
            yield from _texts(part)


def _squeeze(text: str) -> str:
    return " ".join(text.split())
