"""Question answering: a short answer to one question."""

from collections.abc import Sequence

from kubedistill_runtime.tasks.task import Task, check_single_turn


def parse_answer(text: str, labels: Sequence[str]) -> str | None:
    """Return the text, or None if it is blank; a question has no labels."""
    assert not labels, "the resource model refuses labels for this task"
    return text.strip() or None


QA = Task(
    check=check_single_turn, parse=parse_answer, metrics=("exactMatch", "tokenF1"), short_answers=True, exact=True
)
