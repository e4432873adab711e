"""Shapes: records of other tools (OpenAI, ShareGPT, Alpaca, Dolly, TRL), converted to messages and answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject
from kubedistill_runtime.checks.context import check_context
from kubedistill_runtime.checks.record_keys import ANSWER_KEYS, INPUT_KEYS, Remark, first_filled, without_nulls
from kubedistill_runtime.records import Message

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant",
}  # fmt: skip
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython", "tool_response")
_TARGET_KEYS = ("weight", "train", "training")
"""Keys that say whether a turn is learned: OpenAI's, and Axolotl's two."""
_TURN_KEYS = ("role", "from", "content", "value", *_TARGET_KEYS)
_NO_TOOLS = "Remove the record, or write the call and its result as text into other turns"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages of a record, and its answer, if it is not one of the messages."""

    messages: tuple[Message, ...] = ()
    answer: str | None = None
    answer_key: str = ""


def read_prompt(values: JsonObject, *, key: str, at: str, remark: Remark) -> Prompt:
    """Read the messages of a record whose prompt has the given key, including a final assistant turn.

    Raises InvalidData, with the number of the message, if it can't be read without loss.
    """
    if key == "instruction":
        messages = [Message("user", _read_instruction(values, at=at, remark=remark))]
    elif key == "prompt" and not isinstance(values[key], list):
        messages = [Message("user", read_string(values[key], at=at, what=key))]
    else:
        messages = _read_turns(values[key], key=key, at=at, remark=remark)
    messages = with_system(messages, values.get("system"), at=at)
    check_context(values, messages, at=at)
    if key not in ANSWER_KEYS:
        return Prompt(tuple(messages))
    answer_key = first_filled(values, ANSWER_KEYS[key])
    answer = _read_answer(values.get(answer_key), what=answer_key, at=at, remark=remark)
    return Prompt(tuple(messages), answer, answer_key)


def with_system(messages: list[Message], system: Json, *, at: str) -> list[Message]:
    """Return messages after a record's system message, unless it is empty; raises InvalidData if there are two."""
    if _is_blank(system):
        return messages
    if messages and messages[0].role == "system":
        raise InvalidData("the record has both a system message and the key 'system'", at=at, fix="Keep one of them")
    return [Message("system", read_string(system, at=at, what="system")), *messages]


def _is_blank(value: Json) -> bool:
    """Return whether a value is empty, as tools write it if there is no system prompt."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _read_answer(answer: Json, *, what: str, at: str, remark: Remark) -> str | None:
    if answer is None or answer == "":  # Alpaca writes "" if there is none
        return None
    if not isinstance(answer, list):
        return read_string(answer, at=at, what=what)
    turns = _read_turns(answer, key=what, at=at, remark=remark)
    if [turn.role for turn in turns] != ["assistant"]:
        raise InvalidData(f"{what} is not one assistant turn", at=at, fix="Use messages for several turns")
    return turns[0].content


def read_string(value: Json, *, at: str, what: str) -> str:
    """Return a string after checking that it is not blank and can be encoded as UTF-8; raises InvalidData."""
    if value is None or (isinstance(value, str) and not value.strip()):
        problem = f"{what} is missing" if value is None else f"{what} is blank"
        raise InvalidData(problem, at=at, fix="Remove the record, or fill it in")
    if isinstance(value, dict | list):
        kind = "a list" if isinstance(value, list) else "a JSON object"
        raise InvalidData(f"{what} is {kind}, not a string", at=at, fix="Write a JSON string")
    if not isinstance(value, str):
        found = json.dumps(value)
        raise InvalidData(f"{what} is {found}, not a string", at=at, fix=f'Write "{found}"')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidData(f"{what} contains half a surrogate pair", at=at, fix="Write it as UTF-8") from error
    return value


def _read_instruction(values: JsonObject, *, at: str, remark: Remark) -> str:
    instruction = read_string(values["instruction"], at=at, what="instruction")
    key, answer_key = first_filled(values, INPUT_KEYS), first_filled(values, ANSWER_KEYS["instruction"])
    shape = "Dolly" if key == "context" or answer_key == "response" else "Alpaca"
    if values.get(key, "") == "":
        remark(f"{shape} format; the instruction was read as the prompt")
        return instruction
    remark(f"{shape} format; instruction and {key} were read as the prompt, with an empty line in between")
    return f"{instruction}\n\n{read_string(values[key], at=at, what=key)}"


def _read_turns(found: Json, *, key: str, at: str, remark: Remark) -> list[Message]:
    if not isinstance(found, list) or not found:
        fix = 'Write [{"role": "user", "content": "…"}]'
        raise InvalidData(f"{key} is not a list of messages", at=at, fix=fix)
    first = 2 if _is_empty_system(found[0]) else 1
    turns = [
        _read_turn(turn, number=number, at=at, remark=remark) for number, turn in enumerate(found[first - 1 :], first)
    ]
    if turns and turns[-1].role == "assistant" and not turns[-1].target:
        remark("a final assistant turn of weight 0 was removed")
        return turns[:-1] or turns
    return turns


def _is_empty_system(turn: Json) -> bool:
    """Return whether a turn is a system message without text, as many tools write it if there is no system prompt."""
    if not isinstance(turn, dict):
        return False
    role = str(turn.get("role", turn.get("from"))).casefold()
    return _ROLES.get(role) == "system" and _is_blank(turn.get("content", turn.get("value")))


def _read_turn(turn: Json, *, number: int, at: str, remark: Remark) -> Message:
    what = f"message {number}"
    if not isinstance(turn, dict):
        raise InvalidData(f"{what} is not a JSON object", at=at, fix='Write {"role": "user", "content": "…"}')
    values = without_nulls(turn)
    role = _read_role(values, what=what, at=at, remark=remark)
    if "from" in values:
        remark("ShareGPT format; human and gpt turns were read as user and assistant turns")
    for key in values.keys() - set(_TURN_KEYS):
        if key in ("tool_calls", "function_call") and values[key]:
            raise InvalidData(f"{what} has tool calls, which are not supported", at=at, fix=_NO_TOOLS)
        remark(f"the key {key!r} of messages is not read")
    target = _read_target(values, what=what, at=at, remark=remark)
    content = values.get("content", values.get("value"))
    if isinstance(content, list):
        content = _join_parts(content, what=what, at=at, remark=remark)
    content = read_string(content, at=at, what=f"the content of {what}")
    return Message(role, content, target=target or role != "assistant")


def _read_target(values: JsonObject, *, what: str, at: str, remark: Remark) -> bool:
    """Return whether a turn may be learned; a weight other than 0 and 1 gets a note."""
    flags = {key: values[key] for key in _TARGET_KEYS if key in values}
    for key, flag in flags.items():
        if not isinstance(flag, int | float):
            least, most = ("0", "1") if key == "weight" else ("false", "true")
            problem = f"{key!r} of {what} is {json.dumps(flag)}, not {least} or {most}"
            raise InvalidData(problem, at=at, fix=f"Write {least} if the turn must not be learned, otherwise {most}")
        if flag not in (0, 1):
            remark("weights of messages are not read: every turn counts the same")
    return 0 not in flags.values()


def _read_role(values: JsonObject, *, what: str, at: str, remark: Remark) -> str:
    name = values.get("role", values.get("from"))
    role = str(name).casefold()
    if role in _TOOL_ROLES:
        raise InvalidData(f"{what} has the role {name!r}, but tool calls are not supported", at=at, fix=_NO_TOOLS)
    if role not in _ROLES:
        problem = f"{what} has no known role: {name!r}" if name is not None else f"{what} has no role"
        raise InvalidData(problem, at=at, fix="Use one of system, user, assistant")
    if name != _ROLES[role] and "role" in values:
        remark(f"the role {name!r} was read as {_ROLES[role]!r}")
    return _ROLES[role]


def _join_parts(parts: Sequence[Json], *, what: str, at: str, remark: Remark) -> str:
    texts = []
    for part in parts:
        kind, text = (part.get("type"), part.get("text")) if isinstance(part, dict) else (type(part).__name__, None)
        if kind != "text" or not isinstance(text, str):
            raise InvalidData(f"{what} has a part of type {kind!r}, but only text is supported", at=at, fix="Remove it")
        texts.append(text)
    remark("parts of content were joined by line breaks" if len(texts) > 1 else "content is in one part of type text")
    return "\n".join(texts)
