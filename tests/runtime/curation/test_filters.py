"""Filters: which answers are rejected, and for which reason."""

import pytest

from kubedistill.v1alpha1 import Task
from kubedistill_runtime.answers import Answer, Answered, Turn
from kubedistill_runtime.curation.filters import keep_first, make_filters
from kubedistill_runtime.records import Message, Record

LABELS = Task(type="Classification", labels=("a.b", "c.d"))
TALK = Task(type="Conversation")


def answered(*texts: str, finish: str = "stop", prompt: str = "hello", record_id: str = "r") -> Answered:
    turns = tuple(Turn((1,), (2,), text, finish) for text in texts)
    return Answered(Record(record_id, (Message("user", prompt),)), 0, Answer("key", turns))


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        (LABELS, answered("a.b"), None),
        (LABELS, answered(" A.B\n"), None),
        (LABELS, answered("x.y"), "WrongFormat"),
        (LABELS, answered("a.b because"), "WrongFormat"),
        (LABELS, answered("a.b", finish="length"), "Unfinished"),
        (LABELS, answered("  "), "Empty"),
        (LABELS, answered(), "Unanswered"),
        (TALK, answered("Sure.", "Bye."), None),
        (TALK, answered("Sure.", "Bye.", finish="length"), "Unfinished"),
        (TALK, answered("so it goes on and on and on again my dear friend " * 20), "Repetition"),
        (TALK, answered(" ".join(f"unlike {number} things" for number in range(60))), None),
    ],
)
def test_first_reason_counts(task: Task, answer: Answered, reason: str | None) -> None:
    reasons = (reject(answer) for reject in make_filters(task))
    assert next((found for found in reasons if found), None) == reason


def test_same_prompt_with_same_text_is_kept_once() -> None:
    kept, again = keep_first(
        [answered("a"), answered("b"), answered("a", record_id="s"), answered("a", prompt="other")]
    )
    assert (len(kept), [one.record.id for one in again]) == (3, ["s"])
