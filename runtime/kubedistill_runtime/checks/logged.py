"""Logs of production: an entry of request and response, read as a record."""

from collections.abc import Mapping

from kubedistill.errors import InvalidData
from kubedistill.importers.exchanges import find_exchange, read_reply, read_request
from kubedistill.json_values import Json, JsonObject
from kubedistill_runtime.checks.context import find_context
from kubedistill_runtime.checks.record_keys import OWN_KEYS, PROMPT_KEYS, Remark
from kubedistill_runtime.records import Answers

_LOST = {
    "tools": "no model is shown the tools",
    "functions": "no model is shown the functions",
    "response_format": "describe the format in the system message",
}
"""Keys of a request that its messages do not show, and what that means."""
_EXPORTS: dict[str, str] = {
    "custom_id": "the output of a batch", "item": "an eval", "datasource_item": "an eval",
    "preferred_output": "a preference",
}  # fmt: skip
"""Keys of other exports of OpenAI, which have no prompt in the form of a record, and what they are."""


def unwrap_exchange(values: JsonObject, *, answers: Answers, at: str, remark: Remark) -> JsonObject:
    """Return the messages of a log entry as a record; any other value as it is.

    With answers Given, the reply is the reference. With answers Teacher, it is not read: what a model replied in
    production is not known to be right, so it must not judge the student. Raises InvalidData for an entry without a
    request, or without a reply that it needs.
    """
    exchange = find_exchange(values)
    if exchange is None:
        _check_no_export(values, at=at)
        return values
    record: JsonObject = {key: values[key] for key in OWN_KEYS if key in values}
    record["messages"] = read_request(exchange.request, at=at)
    if "id" not in record and exchange.id is not None:
        record["id"] = exchange.id
    if "tags" not in record and exchange.tags:
        record["tags"] = list(exchange.tags)
    remark(f"{exchange.form} log; the messages of the request were read")
    for key in _LOST.keys() & exchange.request.keys():
        if exchange.request[key]:
            remark(f"the key {key!r} of the request is not read: {_LOST[key]}")
    if "reference" in record:
        remark("the reply is not read, because the record has a reference")
    elif answers == "Given":
        record["reference"] = read_reply(exchange.response, at=at)
        remark("the reply was read as the reference")
    else:
        remark("the reply is not read, because the teacher answers")
    return {**find_context(exchange.request), **record}


def _check_no_export(values: Mapping[str, Json], *, at: str) -> None:
    if any(key in values for key in PROMPT_KEYS):
        return
    for key in _EXPORTS.keys() & values.keys():
        fix = "Convert the file: kubedistill import openai FILE -o FOLDER"
        raise InvalidData(f"the record is a line of {_EXPORTS[key]}, as OpenAI exports it", at=at, fix=fix)
