"""Records: the prompts that a job is about, as they are after Prepare."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kubedistill.canonical import canonical_json
from kubedistill_runtime.storage.artifacts import folder_of
from kubedistill_runtime.storage.store import Store

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt: what the teacher sees, and the gold answers that judge it (none, one or several).

    Assistant turns are places for the teacher's own replies; the record's text there is not used.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def prompt_messages(record: Record) -> tuple[Message, ...]:
    """The system and user turns: all that the teacher is given; it answers after each user turn."""
    return tuple(message for message in record.messages if message.role != "assistant")


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
    """The records of a split, as Prepare left them in the rows artifact."""
    return list(decode_records(store.read(f"{folder_of('rows', key)}/{split}.jsonl")))


def _values(record: Record) -> dict[str, object]:
    messages = [{"role": message.role, "content": message.content} for message in record.messages]
    return {"id": record.id, "messages": messages, "references": record.references, "tags": record.tags}
