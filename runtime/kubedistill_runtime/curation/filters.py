"""Filters: each is a function that gives the reason for rejecting an answer, or None."""

import hashlib
from collections.abc import Callable

from kubedistill.canonical import canonical_json
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.curation.repetition import is_repetitive
from kubedistill_runtime.tasks import TASKS

Filter = Callable[[Answered], str | None]


def make_filters(task: TaskSpec) -> tuple[Filter, ...]:
    """The filters of a task in their order; the first reason counts. The last one remembers what it has seen."""
    kind, labels = TASKS[task.type], task.answer_labels

    def reject_format(answered: Answered) -> str | None:
        parsed = [kind.parse(turn.text, labels) for turn in answered.answer.turns]
        return "WrongFormat" if None in parsed else None

    return (
        reject_unanswered,
        reject_unfinished,
        reject_empty,
        reject_format,
        reject_repetition,
        make_duplicate_filter(),
    )


def reject_unanswered(answered: Answered) -> str | None:
    """Reject what the engine never answered."""
    return None if answered.answer.turns else "Unanswered"


def reject_unfinished(answered: Answered) -> str | None:
    """Reject an answer that was cut off."""
    return "Unfinished" if any(turn.finish != "stop" for turn in answered.answer.turns) else None


def reject_empty(answered: Answered) -> str | None:
    """Reject blank text."""
    return "Empty" if any(not turn.text.strip() for turn in answered.answer.turns) else None


def reject_repetition(answered: Answered) -> str | None:
    """Reject a text that says one phrase over and over."""
    return "Repetition" if any(is_repetitive(turn.text) for turn in answered.answer.turns) else None


def make_duplicate_filter() -> Filter:
    """A filter that remembers: it rejects what another record with equal messages answered with equal texts.

    Equal answers to one record stay, since how often an answer is drawn is what the teacher thinks of it.
    """
    first: dict[bytes, str] = {}

    def reject_duplicate(answered: Answered) -> str | None:
        messages = [(message.role, message.content) for message in answered.record.messages]
        texts = [turn.text for turn in answered.answer.turns]
        identity = hashlib.sha256(canonical_json([messages, texts])).digest()
        return None if first.setdefault(identity, answered.record.id) == answered.record.id else "Duplicate"

    return reject_duplicate
