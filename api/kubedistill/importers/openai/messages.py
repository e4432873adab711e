"""Messages: those of OpenAI's chat format that a student can learn from, and why others can't be."""

from collections.abc import Callable, Sequence

from kubedistill.errors import InvalidData
from kubedistill.importers.exchanges import without_reasoning
from kubedistill.json_values import Json, JsonObject, as_object

Remark = Callable[[str], None]
"""Adds a note about a record that is kept."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_READ = ("role", "content", "weight")


def read_messages(found: Json, *, at: str, remark: Remark) -> list[JsonObject]:
    """Return messages as roles, texts and weights; raises InvalidData if they are not a conversation of text.

    A conversation is an optional system message, then turns of user and assistant, the user first.
    """
    if not isinstance(found, list) or not found:
        raise InvalidData("the messages are not a list", at=at)
    messages = [_read_message(message, at=at, remark=remark) for message in found]
    if messages[0]["role"] == "system" and not str(messages[0]["content"]).strip():
        remark("an empty system message was removed")
        messages = messages[1:]
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != [("user", "assistant")[place % 2] for place in range(len(turns))]:
        raise InvalidData("the turns are not user and assistant in turn, the user first", at=at)
    for message in messages:
        check_text(message["content"], what="a message", at=at)
    if messages[-1].get("weight") == 0:
        raise InvalidData("the last reply has weight 0, so there is nothing to learn", at=at)
    return messages


def check_text(value: Json, *, what: str, at: str) -> str:
    """Return a string that is not blank and can be encoded; raises InvalidData."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidData(f"{what} has no text", at=at)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidData(f"{what} contains half a surrogate pair", at=at) from error
    return value


def _read_message(found: Json, *, at: str, remark: Remark) -> JsonObject:
    message = as_object(found)
    role = str(message.get("role"))
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        raise InvalidData("a message calls a tool or has a tool's result", at=at)
    if role not in _ROLES:
        raise InvalidData(f"a message has no known role: {message.get('role')!r}", at=at)
    if message.get("refusal"):
        raise InvalidData("a reply is a refusal", at=at)
    if message.get("audio"):
        raise InvalidData("a reply is audio", at=at)
    for key in message:
        if key not in _READ and message[key]:
            remark(f"the key {key!r} of messages was left out")
    content = message.get("content")
    if isinstance(content, list) and (parts := without_reasoning(content)) != content:
        remark("reasoning was left out")
        content = parts
    read: JsonObject = {"role": _ROLES[role], "content": _read_content(content, at=at)}
    weight = message.get("weight")
    if weight is None or role != "assistant":
        return read
    if weight not in (0, 1):
        raise InvalidData("a weight is neither 0 nor 1", at=at)
    return {**read, "weight": int(bool(weight))}


def _read_content(content: Json, *, at: str) -> Json:
    """Return a content, its parts joined by line breaks."""
    if not isinstance(content, list):
        return content if content is not None else ""
    return "\n".join(_texts(content, at=at))


def _texts(parts: Sequence[Json], *, at: str) -> list[str]:
    found = []
    for part in map(as_object, parts):
        text = part.get("text")
        if part.get("type") != "text" or not isinstance(text, str):
            raise InvalidData(f"a message has a part of type {part.get('type')!r}, not text", at=at)
        found.append(text)
    return found
