"""Metrics of label tasks."""

from collections import Counter
from collections.abc import Sequence


def exact(answer: str | None, references: Sequence[str]) -> float:
    """1 where the answer is a reference."""
    return float(answer is not None and answer in references)


def macro_f1(answers: Sequence[str | None], references: Sequence[Sequence[str]]) -> float:
    """The mean over labels of F1 = 2 TP / (2 TP + FP + FN); labels that occur nowhere do not count."""
    truth = [reference[0] for reference in references]
    hits = Counter(label for label, answer in zip(truth, answers, strict=True) if label == answer)
    given, wanted = Counter(answer for answer in answers if answer is not None), Counter(truth)
    labels = given.keys() | wanted.keys()
    return sum(2 * hits[label] / (given[label] + wanted[label]) for label in labels) / max(1, len(labels))
