"""Records: what each form of line becomes. To read one more form, add a function and a row of `READERS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from kubedistill.errors import InvalidData
from kubedistill.importers.exchanges import find_exchange, read_reply, read_request
from kubedistill.importers.openai.messages import Remark, check_text, read_messages
from kubedistill.json_values import Json, JsonObject, as_object

Values = Mapping[str, Json]
Kind = Literal["fine-tuning", "completion", "preference", "exchange", "eval"]
_GOLD = (
    "reference", "reference_answer", "ideal", "ideal_answer", "expected", "expected_output", "correct_answer",
    "correct_label", "ground_truth", "answer", "label",
)  # fmt: skip
"""Keys of an eval's item that may have the right answer; the first one that is there counts."""
_PROMPTS = ("messages", "input", "prompt", "question")
_TOOLS = ("tools", "functions")
_REQUEST_ONLY = ("parallel_tool_calls", "function_call", "tool_choice")


@dataclass(frozen=True, slots=True)
class Reader:
    """How to recognize and read one form of line."""

    kind: Kind
    matches: Callable[[Values], bool]
    read: Callable[[Values, str, Remark], JsonObject]


def read_record(values: Json, *, at: str, remark: Remark) -> tuple[Kind, JsonObject]:
    """Return the form and the record of a line; raises InvalidData, with the reason to leave it out."""
    line = as_object(values)
    reader = next((reader for reader in READERS if reader.matches(line)), None)
    if reader is None:
        keys = ", ".join(map(repr, sorted(line)[:6])) or "none"
        raise InvalidData(f"the line is in no known form; its keys are {keys}", at=at)
    return reader.kind, reader.read(line, at, remark)


def _read_exchange(line: Values, at: str, remark: Remark) -> JsonObject:
    exchange = find_exchange(line)
    assert exchange is not None, "the row has matched"
    messages = read_messages(read_request(exchange.request, at=at), at=at, remark=remark)
    _note_tools(exchange.request, remark)
    record: JsonObject = {"messages": messages}
    if exchange.tags:
        record["tags"] = _texts(list(exchange.tags), at=at)
    if exchange.id is not None:
        record["id"] = exchange.id
    if exchange.form == "OpenAI batch" and "response" not in line:
        remark("no file has the result of this request, so it is a prompt without an answer")
        return record
    reply = check_text(read_reply(exchange.response, at=at), what="the reply", at=at)
    return {**record, "messages": [*messages, {"role": "assistant", "content": reply}]}


def _read_chat(line: Values, at: str, remark: Remark) -> JsonObject:
    messages = read_messages(line["messages"], at=at, remark=remark)
    _note_tools(line, remark)
    for key in line.keys() - {"messages", *_TOOLS, *_REQUEST_ONLY}:
        remark(f"the key {key!r} was left out")
    return {"messages": messages}


def _read_completion(line: Values, at: str, remark: Remark) -> JsonObject:
    prompt = check_text(line["prompt"], what="the prompt", at=at)
    reply = check_text(line["completion"], what="the completion", at=at)
    if reply != reply.strip():
        remark("white space around the completion was removed")
    for key in line.keys() - {"prompt", "completion"}:
        remark(f"the key {key!r} was left out")
    return {"messages": [_turn("user", prompt), _turn("assistant", reply.strip())]}


def _read_preference(line: Values, at: str, remark: Remark) -> JsonObject:
    request = as_object(line["input"])
    asked = read_messages(read_request(request, at=at), at=at, remark=remark)
    _note_tools(request, remark)
    preferred = line["preferred_output"]
    if not isinstance(preferred, list) or len(preferred) != 1:
        raise InvalidData("the preferred output is not one message", at=at)
    remark("only the preferred output was read")
    messages = read_messages([*asked, preferred[0]], at=at, remark=remark)
    if messages[-1]["role"] != "assistant":
        raise InvalidData("the preferred output is not the assistant's", at=at)
    return {"messages": messages}


def _read_eval(line: Values, at: str, remark: Remark) -> JsonObject:
    item = as_object(line.get("item", line.get("datasource_item", line)))
    key = next((key for key in _PROMPTS if key in item), None)
    if key is None:
        raise InvalidData(f"the item has none of {', '.join(_PROMPTS)}", at=at)
    prompt: Json = [_turn("user", item[key])] if isinstance(item[key], str) else item[key]
    messages = read_messages(read_request({"messages": prompt}, at=at), at=at, remark=remark)
    gold = next((name for name in _GOLD if item.get(name) not in (None, "", [])), None)
    for other in item.keys() - {key, gold}:
        remark(f"the key {other!r} of items was left out")
    if line.get("sample") is not None:
        remark("the sample was left out, because it is a model's output and not known to be right")
    if gold is None:
        return {"messages": messages}
    remark(f"{gold!r} was read as the reference")
    found = item[gold]
    return {"messages": messages, "reference": _texts(found if isinstance(found, list) else [found], at=at)}


READERS: tuple[Reader, ...] = (
    Reader("exchange", lambda line: find_exchange(line) is not None, _read_exchange),
    Reader("preference", lambda line: {"input", "preferred_output"} <= line.keys(), _read_preference),
    Reader("eval", lambda line: isinstance(line.get("item", line.get("datasource_item")), dict), _read_eval),
    Reader("eval", lambda line: {"input", "ideal"} <= line.keys(), _read_eval),
    Reader("fine-tuning", lambda line: "messages" in line, _read_chat),
    Reader("completion", lambda line: {"prompt", "completion"} <= line.keys(), _read_completion),
)


def _note_tools(request: Values, remark: Remark) -> None:
    for key in _TOOLS:
        if request.get(key):
            remark(f"the {key} were left out: no model is shown them")


def _turn(role: str, content: Json) -> JsonObject:
    return {"role": role, "content": content}


def _texts(values: list[Json], *, at: str) -> list[str]:
    return [check_text(str(one) if type(one) is int else one, what="a reference or tag", at=at) for one in values]
