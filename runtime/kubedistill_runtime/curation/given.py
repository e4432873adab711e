"""Given answers: references as training targets, in the form of a teacher's answers."""

from collections.abc import Iterable

from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.records import Message, Record


def given_answers(records: Iterable[Record], *, every_turn: bool = False) -> list[AnsweredRecord]:
    """Return the first reference of each record as the answer to its last user turn.

    With `every_turn`, the record's assistant turns are targets too, except those that are only context. The text has no
    ids, since the student's tokenizer encodes it later.
    """
    return [_given(record, every_turn=every_turn) for record in records]


def _given(record: Record, *, every_turn: bool) -> AnsweredRecord:
    replies = [record.references[0]]
    if every_turn:
        replies = [message.content for message in record.messages if _is_target(message)] + replies
        asked = tuple(message for message in record.messages if not _is_target(message))
        record = Record(record.id, asked, record.references, record.tags)
    return AnsweredRecord(
        record, 0, Answer(f"given/{record.id}", tuple(Turn((), (), reply, "stop") for reply in replies))
    )


def _is_target(message: Message) -> bool:
    return message.role == "assistant" and message.target
