"""Metrics of label tasks."""

from collections import Counter
from collections.abc import Sequence


def exact(answer: str | None, references: Sequence[str]) -> float:
    """Return 1 if the answer is a reference, otherwise 0."""
    return float(answer is not None and answer in references)


def matched(answer: str | None, references: Sequence[str]) -> str | None:
    """Return the reference that the answer matches, otherwise the first; None without references."""
    return answer if answer in references else next(iter(references), None)


def macro_f1(answers: Sequence[str | None], references: Sequence[Sequence[str]]) -> float | None:
    """Return the mean over labels of F1 = 2 TP / (2 TP + FP + FN); labels that do not occur are not counted.

    The true label of a record is the reference that its answer matches, otherwise the first. None if no label occurs.
    """
    truth = [matched(*row) for row in zip(answers, references, strict=True)]
    hits = Counter(label for label, answer in zip(truth, answers, strict=True) if label == answer)
    given, wanted = (Counter(label for label in some if label is not None) for some in (answers, truth))
    labels = given.keys() | wanted.keys()
    return sum(2 * hits[label] / (given[label] + wanted[label]) for label in labels) / len(labels) if labels else None
