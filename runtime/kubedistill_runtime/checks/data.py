"""Reading of data files: each value is either a record of the task or a reason to refuse the file."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.checks.files import Entry, read_file
from kubedistill_runtime.checks.labels import read_labels
from kubedistill_runtime.checks.logged import unwrap_exchange
from kubedistill_runtime.checks.problems import Problems
from kubedistill_runtime.checks.record_keys import Remark, check_template_keys, find_prompt_key, without_nulls
from kubedistill_runtime.checks.shapes import Prompt, read_prompt, read_string, with_system
from kubedistill_runtime.checks.template import AT as TEMPLATE_AT
from kubedistill_runtime.checks.template import compile_template
from kubedistill_runtime.records import Answers, Message, Record, Split
from kubedistill_runtime.tasks import TASKS, Task

_MOST_NOTES = 20
_GREETED = "Remove the assistant's greeting, or move it into the system message; the first turn must be the user's"


@dataclass(frozen=True, slots=True)
class DataFile:
    """The records of one file, and notes about content that was converted or ignored."""

    records: list[Record]
    notes: tuple[str, ...]


def read_records(path: Path, *, split: Split, task: TaskSpec, answers: Answers) -> DataFile:
    """Read the records of a data file, and add the job's system prompt.

    `answers` says whether the replies in logs of production are the answers to learn.

    A record without an id is named after its split and line, not after the file, so equal content gives equal records.
    Raises InvalidData, with file and line, for the first 20 values that are not records of this task.
    """
    contents = read_file(path)
    problems, remarks, records = Problems(), Counter[str](), dict[str, Record]()
    for entry in contents.entries:
        if problems.full:
            break
        if isinstance(entry, InvalidData):
            problems.found.append(entry)
            continue
        found: set[str] = set()
        record = _read_record(entry, split=split, task=task, answers=answers, problems=problems, remark=found.add)
        if record is None:
            continue
        record = _with_system_prompt(record, task.system_prompt)
        with problems.collect():
            _check_record(record, task=task, others=records, at=entry.place)
            records[record.id] = record
        remarks.update(found)
    problems.refuse()
    if not records:
        raise InvalidData("the file has no records", at=str(path), fix="Write one JSON object per line")
    return DataFile(list(records.values()), (*contents.notes, *_notes(remarks, total=len(records))))


def _read_record(
    entry: Entry, *, split: Split, task: TaskSpec, answers: Answers, problems: Problems, remark: Remark
) -> Record | None:
    """Return the record of an entry, or None if a part of it is a problem; all parts are checked in any case."""
    before, at, values = len(problems.found), entry.place, entry.value
    if not isinstance(values, dict):
        problems.found.append(InvalidData("the record is not a JSON object", at=at, fix='Write {"messages": [...]}'))
        return None
    record = Record(f"{split}-{entry.number:06d}", ())
    prompt = Prompt()
    values = without_nulls(values)
    with problems.collect():
        if task.prompt is None:
            values = unwrap_exchange(values, answers=answers, at=at, remark=remark)
            key = find_prompt_key(values, at=at, remark=remark)
            prompt = read_prompt(values, key=key, at=at, remark=remark)
        else:
            prompt = _fill_template(task.prompt, values, at=at, remark=remark)
    with problems.collect():
        record = replace(record, id=_read_id(values.get("id", record.id), at=at))
    with problems.collect():
        record = replace(record, tags=_read_strings(values.get("tags", []), at=at, what="tags"))
    with problems.collect():
        references = _read_references(values.get("reference", []), task=task, at=at)
        record = replace(record, messages=prompt.messages, references=references)
        record = _take_answer(record, prompt, task=TASKS[task.type], remark=remark)
        if task.answer_labels:
            record = replace(record, references=read_labels(record.references, task.answer_labels, at=at))
    return record if len(problems.found) == before else None


def _fill_template(text: str, values: JsonObject, *, at: str, remark: Remark) -> Prompt:
    """Return the user message that a template makes of a record, after the record's system message, if any."""
    template = compile_template(text)
    check_template_keys(values, variables=template.variables, at=at, remark=remark)
    try:
        prompt = template.render(values)
    except ValueError as error:
        fix = "Add the key to the record, or let the template test it: {% if key is defined %}"
        raise InvalidData(f"{TEMPLATE_AT} makes no prompt of the record: {error}", at=at, fix=fix) from error
    message = Message("user", read_string(prompt, at=at, what="the prompt"))
    return Prompt(tuple(with_system([message], values.get("system"), at=at)))


def _read_references(value: Json, *, task: TaskSpec, at: str) -> tuple[str, ...]:
    """Return the references of a record as strings; those of a task with a JSON Schema may be JSON objects."""
    values = value if isinstance(value, list) else [value]
    if task.answer is not None and task.answer.json_schema is not None:
        values = [json.dumps(one, ensure_ascii=False) if isinstance(one, Mapping) else one for one in values]
    return _read_strings(values, at=at, what="reference")


def _take_answer(record: Record, prompt: Prompt, *, task: Task, remark: Remark) -> Record:
    """Use the answer in a record as its reference, unless it has one.

    A conversation keeps its final assistant turn, which may be context or an answer.
    """
    answer, name = prompt.answer, f"the {prompt.answer_key}"
    if answer is None and not task.multi_turn and prompt.messages and prompt.messages[-1].role == "assistant":
        answer, name = prompt.messages[-1].content, "the final assistant turn"
        record = replace(record, messages=prompt.messages[:-1])
    if answer is None:
        return record
    if record.references:
        remark(f"{name} is not read, because the record has a reference")
        return record
    remark(f"{name} was read as the reference")
    return replace(record, references=(answer,))


def _check_record(record: Record, *, task: TaskSpec, others: dict[str, Record], at: str) -> None:
    kind = TASKS[task.type]
    if problem := kind.check(record):
        raise InvalidData(problem, at=at, fix=_GREETED if _is_greeted(record) else "Reorder or remove messages")
    if kind.check_references and (problem := kind.check_references(record, task)):
        raise InvalidData(problem, at=at, fix=kind.reference_fix)
    if record.id in others:
        raise InvalidData(f"id {record.id!r} is used twice", at=at, fix="Give each record a different id")


def _is_greeted(record: Record) -> bool:
    """Return whether the assistant begins the conversation."""
    roles = [message.role for message in record.messages if message.role != "system"]
    return roles[:1] == ["assistant"]


def _read_id(value: Json, *, at: str) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return read_string(json.dumps(value) if is_number else value, at=at, what="id")


def _read_strings(value: Json, *, at: str, what: str) -> tuple[str, ...]:
    """Return a string or a list of strings as a tuple; integers are converted, since each has only one spelling."""
    values = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    whole = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in values]
    return tuple(read_string(one, at=at, what=what) for one in whole)


def _with_system_prompt(record: Record, system_prompt: str | None) -> Record:
    if system_prompt is None:
        return record
    rest = tuple(message for message in record.messages if message.role != "system")
    return replace(record, messages=(Message("system", system_prompt), *rest))


def _notes(remarks: Counter[str], *, total: int) -> list[str]:
    shown = [f"{count:,} of {total:,} records: {remark}" for remark, count in sorted(remarks.items())]
    more = [f"and {len(shown) - _MOST_NOTES} more notes"] if len(shown) > _MOST_NOTES else []
    return shown[:_MOST_NOTES] + more
