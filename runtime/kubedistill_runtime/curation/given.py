"""Given answers: references as training targets, in the form that a teacher's answers have."""

from collections.abc import Iterable

from kubedistill_runtime.answers import Answer, Answered, Turn
from kubedistill_runtime.records import Record


def given_answers(records: Iterable[Record]) -> list[Answered]:
    """The first reference of each record as its answer: text without ids, for the student's tokenizer to encode."""
    return [
        Answered(record, 0, Answer(f"given/{record.id}", (Turn((), (), record.references[0], "stop"),)))
        for record in records
    ]
