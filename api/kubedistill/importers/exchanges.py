"""Exchanges: a logged request to a model and its response, in the forms of OpenAI's API, gateways and loggers.

A form is recognized only if its keys leave no doubt. `FORMS` lists them; to add one, add a row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubedistill.errors import InvalidData
from kubedistill.finish_reasons import ENDS, FAILURES
from kubedistill.json_values import Json, as_object

_CUT_OFF = "the reply was cut off"
_CALLS = "the reply calls tools, which are not supported"
_FILTERED = "the reply was stopped by a content filter"
_FAILED = "the server could not finish the reply"
_INCOMPLETE = {"length": _CUT_OFF, "filtered": _FILTERED}
_PROBLEMS = {
    **{reason: _INCOMPLETE[end] for reason, end in ENDS.items() if end in _INCOMPLETE},
    **dict.fromkeys(FAILURES, _FAILED),
    **dict.fromkeys(("tool_calls", "function_call"), _CALLS),
}
"""What is wrong with a reply, by its finish reason in lower case."""
_LEAVE_OUT = "Remove the record; `kubedistill import openai` leaves such records out and lists them"
_ELSEWHERE = ("previous_response_id", "conversation")
"""Keys of a request that refer to messages that it does not contain."""
Values = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, neither of which is read yet."""

    form: str
    request: Values
    response: Json
    id: Json = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """One form of log entries: how to recognize it, and the keys of its parts."""

    name: str
    matches: Callable[[Values], bool]
    request: str = ""
    """The key of the request; empty if the entry itself is the request."""
    response: str = ""
    """The key of the response; empty if the entry itself is the response."""
    ids: tuple[str, ...] = ("id",)
    tag: str = ""
    """The key of a string that is a tag."""
    metadata: bool = True
    """Whether the metadata of the request is OpenAI's, which the caller chose; gateways add names and keys of users."""


FORMS: tuple[Form, ...] = (
    Form(
        "OpenAI batch", lambda entry: isinstance(entry.get("body"), dict) and "custom_id" in entry, "body", "response",
        ids=("custom_id",),
    ),
    # NVIDIA's Data Flywheel has this form, with workload_id, client_id and timestamp.
    Form(
        "request and response", lambda entry: isinstance(entry.get("request"), dict) and "response" in entry, "request",
        "response", ids=("id", "request_id"), tag="workload_id",
    ),
    Form(
        "Helicone", lambda entry: isinstance(entry.get("request_body"), dict) and "response_body" in entry,
        "request_body", "response_body", ids=("request_id", "id"),
    ),
    Form(
        "LiteLLM", lambda entry: isinstance(entry.get("messages"), list) and _is_response(entry.get("response")), "",
        "response", ids=("id", "request_id"), metadata=False,
    ),
    Form("stored completion", lambda entry: _is_response(entry) and ("messages" in entry or "input" in entry)),
    Form("Langfuse", lambda entry: entry.get("type") == "GENERATION" and {"input", "output"} <= entry.keys(), "input",
         "output"),
)  # fmt: skip


def find_exchange(entry: Values) -> Exchange | None:
    """Return the exchange in a log entry, or None if the entry is in no form of the table."""
    form = next((form for form in FORMS if form.matches(entry)), None)
    if form is None:
        return None
    request = _decode(entry[form.request]) if form.request else entry
    response = _decode(entry.get(form.response)) if form.response else entry
    identity = next((entry[key] for key in form.ids if entry.get(key) is not None), None)
    tag = entry.get(form.tag) if form.tag else None
    tags = (tag,) if isinstance(tag, str) and tag.strip() else ()
    asked: Values = request if isinstance(request, Mapping) else {"messages": request}
    metadata = _metadata(asked, as_object(response)) if form.metadata else ()
    return Exchange(form.name, asked, response, identity, (*tags, *metadata))


def read_request(request: Values, *, at: str) -> list[Json]:
    """Return the messages of a request: of Chat Completions, Responses or, as one user turn, Completions.

    Raises InvalidData if there are none, if they are stored elsewhere, or if the last one is not the user's.
    """
    for key in _ELSEWHERE:
        if request.get(key):
            problem = f"the request has {key}, so not all its messages are in it"
            raise InvalidData(problem, at=at, fix=_LEAVE_OUT)
    if "messages" in request:
        messages = request["messages"]
    elif "input" in request:
        messages = _read_input(request, at=at)
    elif isinstance(request.get("prompt"), str):
        messages = [{"role": "user", "content": request["prompt"]}]
    else:
        raise InvalidData("the request has no messages", at=at, fix=_LEAVE_OUT)
    if not isinstance(messages, list) or not messages:
        raise InvalidData("the messages of the request are not a list", at=at, fix=_LEAVE_OUT)
    if (role := as_object(messages[-1]).get("role")) != "user":
        problem = f"the request ends with a turn of {role!r}, not of the user"
        raise InvalidData(problem, at=at, fix=_LEAVE_OUT)
    return messages


def read_reply(response: Json, *, at: str) -> str:
    """Return the text of a response; raises InvalidData if there is no complete text that a student could learn."""
    body = as_object(response)
    if "status_code" in body:  # a line of a batch
        if body["status_code"] != 200:
            raise InvalidData(f"the request failed with status {body['status_code']}", at=at, fix=_LEAVE_OUT)
        body = as_object(body.get("body"))
    if body.get("error"):
        raise InvalidData("the request failed", at=at, fix=_LEAVE_OUT)
    content, ends = _find_content(response if isinstance(response, str) else body, at=at)
    problem = _PROBLEMS.get(str(ends).lower()) or (
        "" if isinstance(content, str) and content.strip() else "the reply has no text"
    )
    if problem:
        raise InvalidData(problem, at=at, fix=_LEAVE_OUT)
    return str(content)


def _find_content(response: Values | str, *, at: str) -> tuple[Json, Json]:
    """Return (content, reason of the end) of a response."""
    if isinstance(response, str):
        return response, None
    choices = response.get("choices")
    if isinstance(choices, list):
        if len(choices) != 1:
            raise InvalidData(f"the response has {len(choices)} choices, not one", at=at, fix=_LEAVE_OUT)
        choice = as_object(choices[0])
        return _read_message(choice.get("message", {"content": choice.get("text")})), choice.get("finish_reason")
    if isinstance(response.get("output"), list):
        return _read_output(response)
    if response.get("role") == "assistant":
        return _read_message(response), "tool_calls" if _has_calls(response) else None
    raise InvalidData("there is no response in a known form", at=at, fix=_LEAVE_OUT)


def _read_message(value: Json) -> Json:
    """Return the content of an assistant's message; None if it calls tools or refuses."""
    message = as_object(value)
    if _has_calls(message) or message.get("refusal"):
        return None
    content = message.get("content")
    return _join(without_reasoning(content) if isinstance(content, list) else content, kinds=("text",))


def without_reasoning(parts: Sequence[Json]) -> list[Json]:
    """Return the parts of a content that are not reasoning, which is not part of a reply."""
    return [part for part in parts if as_object(part).get("type") not in ("thinking", "reasoning")]


def _has_calls(message: Values) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _read_output(response: Values) -> tuple[Json, Json]:
    """Return (content, reason of the end) of a response of the Responses API; reasoning is not part of the content."""
    items = [as_object(item) for item in _listed(response.get("output"))]
    messages = [item for item in items if item.get("type") == "message"]
    if any(item.get("type") not in ("message", "reasoning") for item in items):
        return None, "tool_calls"
    if response.get("status") == "incomplete":
        reason = as_object(response.get("incomplete_details")).get("reason")
        return None, "content_filter" if reason == "content_filter" else "length"
    return (_join(messages[0].get("content"), kinds=("output_text",)) if len(messages) == 1 else None), None


def _read_input(request: Values, *, at: str) -> list[Json]:
    """Return the input of the Responses API as messages of Chat Completions."""
    given, instructions = request["input"], request.get("instructions")
    items: Sequence[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else _listed(given)
    messages: list[Json] = [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []
    for item in map(as_object, items):
        if item.get("type", "message") != "message":
            problem = f"the input has an item of type {item['type']!r}, but only messages are supported"
            raise InvalidData(problem, at=at, fix=_LEAVE_OUT)
        content = item.get("content")
        joined = _join(content, kinds=("input_text", "output_text", "text"))
        messages.append({"role": item.get("role"), "content": content if joined is None else joined})
    return messages


def _join(content: Json, *, kinds: Sequence[str]) -> str | None:
    """Return a content or its parts as a string, with line breaks between parts; None if a part is not text."""
    if isinstance(content, str):
        return content
    parts = [as_object(part) for part in _listed(content)]
    texts = [text for part in parts if part.get("type") in kinds and isinstance(text := part.get("text"), str)]
    return "\n".join(texts) if texts and len(texts) == len(parts) else None


def _is_response(value: Json) -> bool:
    return isinstance(as_object(value).get("choices"), list)


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else []


def _metadata(request: Values, response: Values) -> tuple[str, ...]:
    """Return the metadata that OpenAI stores with a completion, as tags."""
    found = as_object(request.get("metadata")) or as_object(response.get("metadata"))
    return tuple(f"{key}={value}" for key, value in sorted(found.items()) if isinstance(value, str))


def _decode(value: Json) -> Json:
    """Return the JSON value in a string, as Langfuse exports it; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        decoded: Json = json.loads(value)
    except (ValueError, RecursionError):  # it only begins like JSON
        return value
    return decoded
