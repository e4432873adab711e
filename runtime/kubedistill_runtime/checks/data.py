"""Reading JSONL records: each line is either a record or the reason for refusing the file."""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kubedistill.errors import InvalidData
from kubedistill_runtime.records import Message, Record, Split
from kubedistill_runtime.tasks import Task

_KEYS = ("messages", "prompt", "id", "tags", "reference")
_ROLES = ("system", "user", "assistant")


def read_records(
    path: Path, *, split: Split, task: Task, labels: Sequence[str], system_prompt: str | None
) -> list[Record]:
    """Read a JSONL file of records, with the job's system prompt put in.

    A record without id is named after its split and line, never after the file: equal content gives equal records.
    Raises InvalidData, naming file and line, at the first line that is not a record of this task.
    """
    records: dict[str, Record] = {}
    for place, line in _lines(path):
        record = _parse_record(line, place=place, default_id=f"{split}-{place.rpartition(':')[2].zfill(6)}")
        record = _with_system_prompt(record, system_prompt)
        if problem := task.check(record):
            raise InvalidData(problem, at=place, fix="Reorder or remove messages")
        for reference in record.references:
            if labels and task.parse(reference, labels) is None:
                raise InvalidData(
                    f"reference {reference!r} is not one of the task's labels",
                    at=place,
                    fix=_nearest(reference, labels),
                )
        if record.id in records:
            raise InvalidData(f"id {record.id!r} was used before", at=place, fix="Give each record an id of its own")
        records[record.id] = record
    if not records:
        raise InvalidData("the file holds no records", at=str(path), fix="Write one JSON object a line")
    return list(records.values())


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        fix = "Paths without a scheme are relative to the manifest's folder, in a cluster to storage.uri"
        raise InvalidData("there is no such file", at=str(path), fix=fix) from error
    except OSError as error:
        raise InvalidData(
            f"the file can't be read ({error.strerror})", at=str(path), fix="Name a JSONL file"
        ) from error
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", line.decode()
        except UnicodeDecodeError as error:
            raise InvalidData("the line is not UTF-8", at=f"{path}:{number}", fix="Convert the file") from error


def _parse_record(line: str, *, place: str, default_id: str) -> Record:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = f"the line is not JSON ({error})"
        raise InvalidData(problem, at=place, fix="Write one whole JSON object a line") from error
    if not isinstance(values, dict):
        raise InvalidData("the line is not a JSON object", at=place, fix='Write {"messages": [...]}')
    for key in values:
        if key not in _KEYS and (near := difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)):
            raise InvalidData(f"unknown key {key!r}", at=place, fix=f"Did you mean {near[0]!r}?")
    return Record(
        id=_text(values.get("id", default_id), at=place, what="id"),
        messages=_messages(values, at=place),
        references=_texts(values.get("reference", []), at=place, what="reference"),
        tags=_texts(values.get("tags", []), at=place, what="tags"),
    )


def _messages(values: dict[str, Any], *, at: str) -> tuple[Message, ...]:
    if ("messages" in values) == ("prompt" in values):
        raise InvalidData("a record has either messages or prompt", at=at, fix="Write exactly one of them")
    if "prompt" in values:
        return (Message("user", _text(values["prompt"], at=at, what="prompt")),)
    found = values["messages"]
    if not isinstance(found, list) or not found:
        raise InvalidData("messages is not a list of messages", at=at, fix='Write [{"role": "user", "content": "…"}]')
    messages = []
    for message in found:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise InvalidData("a message has no known role", at=at, fix=f"Use one of {', '.join(_ROLES)}")
        messages.append(Message(message["role"], _text(message.get("content"), at=at, what="content")))
    return tuple(messages)


def _text(value: Any, *, at: str, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidData(f"{what} is not a text, or is blank", at=at, fix="Write a JSON string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidData(f"{what} holds half a surrogate pair", at=at, fix="Write it as UTF-8") from error
    return value


def _texts(value: Any, *, at: str, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(_text(entry, at=at, what=what) for entry in values)


def _with_system_prompt(record: Record, system_prompt: str | None) -> Record:
    if system_prompt is None:
        return record
    rest = tuple(message for message in record.messages if message.role != "system")
    return Record(record.id, (Message("system", system_prompt), *rest), record.references, record.tags)


def _nearest(reference: str, labels: Sequence[str]) -> str:
    near = difflib.get_close_matches(reference, labels, n=1)
    return (
        f"Did you mean {near[0]!r}?"
        if near
        else f"The labels are {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}"
    )
