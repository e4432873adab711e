"""Metrics: scores of answers against references, 0 to 1. Each is a function, a row in METRICS and a name in a Task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kubedistill_runtime.evaluation.metrics.labels import exact, macro_f1
from kubedistill_runtime.evaluation.metrics.math import math_match
from kubedistill_runtime.evaluation.metrics.normalization import NORMALIZATIONS, Equality
from kubedistill_runtime.evaluation.metrics.summaries import rouge_1, rouge_2, rouge_l
from kubedistill_runtime.evaluation.metrics.text import bleu, chrf, exact_match, token_f1

Score = Callable[[str | None, Sequence[str]], float]
"""(answer, or None if it is not in the required form; references) -> 0 to 1; the best reference counts."""
Corpus = Callable[[Sequence[str | None], Sequence[Sequence[str]]], float | None]
"""The same over all rows at once, for metrics that are not a mean of rows; None if undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: either the mean of a score of single rows, or a score of all rows at once."""

    row: Callable[..., float] | None = None
    """A `Score`, with the additional argument `words` if `normalized`."""
    corpus: Corpus | None = None
    normalized: bool = False
    """Whether `evaluation.answerComparison` determines which words are equal."""


METRICS: dict[str, Metric] = {
    "accuracy": Metric(row=exact),
    "exactMatch": Metric(row=exact_match, normalized=True),
    "tokenF1": Metric(row=token_f1, normalized=True),
    "chrf": Metric(row=chrf),
    "macroF1": Metric(corpus=macro_f1),
    "bleu": Metric(corpus=bleu),
    "mathMatch": Metric(row=math_match),
    "rougeL": Metric(row=rouge_l),
    "rouge1": Metric(row=rouge_1),
    "rouge2": Metric(row=rouge_2),
}


def score_of(name: str, comparison: Equality = "Default") -> Score:
    """Return a metric of single rows, with the comparison of short answers applied."""
    metric = METRICS[name]
    assert metric.row is not None, "the headline metric of a task is a score of single rows"
    return partial(metric.row, words=NORMALIZATIONS[comparison]) if metric.normalized else metric.row


def measure(
    name: str,
    answers: Sequence[str | None],
    references: Sequence[Sequence[str]],
    *,
    comparison: Equality = "Default",
) -> float | None:
    """Return one metric over all rows, 0 to 1; None without rows."""
    if not answers:
        return None
    if corpus := METRICS[name].corpus:
        return corpus(answers, references)
    score = score_of(name, comparison)
    return sum(score(*row) for row in zip(answers, references, strict=True)) / len(answers)
