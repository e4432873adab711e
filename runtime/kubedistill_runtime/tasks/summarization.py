"""Summarization: a shorter version of a longer text."""

from collections.abc import Sequence

from kubedistill_runtime.tasks.task import Task, check_single_turn


def parse_summary(text: str, labels: Sequence[str]) -> str | None:
    """Return the text, or None if it is blank; a summary has no labels."""
    assert not labels, "the resource model refuses labels here"
    return text.strip() or None


SUMMARIZATION = Task(check=check_single_turn, parse=parse_summary, metrics=("rougeL", "rouge1", "rouge2"))
