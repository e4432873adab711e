"""Records: the prompts that a job is about, as they are after Prepare."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kubedistill.canonical import canonical_json
from kubedistill.contract.store_names import artifact_folder
from kubedistill.json_values import JsonObject
from kubedistill_runtime.storage.store import Store

Split = Literal["train", "validation", "test"]
Answers = Literal["Teacher", "Given"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str
    target: bool = True
    """Whether an assistant turn may be trained on; otherwise it is only context."""


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt: what a model sees, and its gold answers (none, one or several).

    A model answers each user turn that is not followed by an assistant turn; assistant turns of the record are context.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def arrange(record: Record, *, answers: Answers) -> Record:
    """Return a record without the assistant turns that are not context.

    A teacher answers every user turn itself, so the record's own replies are removed. Given answers keep them as
    context: the reference answers the last user turn, and a reply after it becomes the reference if there is none.
    """
    if answers == "Teacher":
        asked = tuple(message for message in record.messages if message.role != "assistant")
        return Record(record.id, asked, record.references, record.tags)
    *before, last = record.messages
    if last.role != "assistant":
        return record
    return Record(record.id, tuple(before), record.references or (last.content,), record.tags)


def open_turns(record: Record) -> list[tuple[Message, ...]]:
    """Return the new messages before each reply of a model: those since its last reply."""
    turns: list[tuple[Message, ...]] = []
    waiting: tuple[Message, ...] = ()
    for place, message in enumerate(record.messages):
        waiting = (*waiting, message)
        after = record.messages[place + 1 : place + 2]
        if message.role == "user" and not (after and after[0].role == "assistant"):
            turns.append(waiting)
            waiting = ()
    return turns


def longest_prompt(record: Record) -> list[Message]:
    """Return the messages before the last reply; each earlier reply, which is not known yet, is the shortest one."""
    first, *others = open_turns(record)
    shortest = Message("assistant", ".")
    return [*first, *(message for turn in others for message in (shortest, *turn))]


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records as JSONL, one canonical line each."""
    return b"".join(canonical_json(_values(record)) + b"\n" for record in records)


def decode_records(data: bytes) -> Iterator[Record]:
    """Decode what encode_records wrote."""
    for line in data.splitlines():
        values = json.loads(line)
        messages = tuple(Message(**message) for message in values["messages"])
        yield Record(values["id"], messages, tuple(values["references"]), tuple(values["tags"]))


def read_rows(store: Store, key: str, split: Split) -> list[Record]:
    """Return the records of a split from the rows artifact."""
    return list(decode_records(store.read(f"{artifact_folder('rows', key)}/{split}.jsonl")))


def _values(record: Record) -> JsonObject:
    messages = [_message_values(message) for message in record.messages]
    return {"id": record.id, "messages": messages, "references": record.references, "tags": record.tags}


def _message_values(message: Message) -> JsonObject:
    values: JsonObject = {"role": message.role, "content": message.content}
    return values if message.target else {**values, "target": False}
