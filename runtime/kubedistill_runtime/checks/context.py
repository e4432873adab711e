"""Context: a record with context in a key that is not read is refused, since a note would not be enough."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject
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


def find_context(values: Mapping[str, Json]) -> JsonObject:
    """Return the keys of a logged request that have context; `input` has its messages."""
    return {key: value for key, value in values.items() if key.casefold() in _FIXES and key != "input"}


def check_context(values: Mapping[str, Json], messages: Sequence[Message], *, at: str) -> None:
    """Check that the text of every context key is in a message; raises InvalidData.

    Line breaks may differ, since a prompt may have been made from several columns.
    """
    contents = [_squeeze(message.content) for message in messages]
    for key, value in values.items():
        fix = _FIXES.get(key.casefold())
        if fix and any(not any(text in content for content in contents) for text in _texts(value)):
            raise InvalidData(f"the key {key!r} is not read, and no message contains its text", at=at, fix=fix)


def _texts(value: Json) -> Iterator[str]:
    """Yield all strings in a JSON value that are not blank."""
    if isinstance(value, str):
        if text := _squeeze(value):
            yield text
    elif isinstance(value, list | dict):
        parts: Iterable[Json] = value.values() if isinstance(value, dict) else value
        for part in parts:
            yield from _texts(part)


def _squeeze(text: str) -> str:
    return " ".join(text.split())
