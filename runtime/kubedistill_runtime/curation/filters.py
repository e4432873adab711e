"""Filters: each is a pure function that gives the reason for rejecting an answer, or None."""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.tasks import TASKS

Filter = Callable[[Answered], str | None]

_NGRAM, _MAX_SHARE, _MAX_COMPRESSION = 10, 0.2, 8.0
_LONG_ENOUGH = 50  # words; shorter texts repeat themselves by nature


def make_filters(task: TaskSpec) -> tuple[Filter, ...]:
    """Return the filters of a task in their order; the first reason counts."""
    kind, labels = TASKS[task.type], task.answer_labels

    def reject_format(answered: Answered) -> str | None:
        parsed = [kind.parse(turn.text, labels) for turn in answered.answer.turns]
        return "WrongFormat" if None in parsed else None

    return (reject_unanswered, reject_unfinished, reject_empty, reject_format, reject_repetition)


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
    """Reject a text that is mostly one phrase: a 10-gram with over 20 % of all, or text that zlib shrinks 8 times."""
    return "Repetition" if any(_repeats(turn.text) for turn in answered.answer.turns) else None


def keep_first(kept: Sequence[Answered]) -> tuple[list[Answered], list[Answered]]:
    """Split off answers whose prompt and text were seen before; returns (kept, duplicates)."""
    seen: set[tuple[object, ...]] = set()
    first: list[Answered] = []
    again: list[Answered] = []
    for answered in kept:
        texts = tuple(turn.text for turn in answered.answer.turns)
        identity = (*((message.role, message.content) for message in answered.record.messages), texts)
        (again if identity in seen else first).append(answered)
        seen.add(identity)
    return first, again


def _repeats(text: str) -> bool:
    words = text.split()
    if len(words) < _LONG_ENOUGH:
        return False
    grams = Counter(zip(*(words[start:] for start in range(_NGRAM)), strict=False))
    share = max(grams.values()) * _NGRAM / len(words)
    data = text.encode()
    return (max(grams.values()) > 1 and share > _MAX_SHARE) or len(data) / len(zlib.compress(data)) > _MAX_COMPRESSION
