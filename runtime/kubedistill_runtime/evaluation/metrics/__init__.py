"""Metrics: answers and references become fractions. One is a function in a file here, and a row in a table below."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from kubedistill.v1alpha1 import AnswerComparison
from kubedistill_runtime.evaluation.metrics.labels import exact, macro_f1
from kubedistill_runtime.evaluation.metrics.normalization import NORMALIZATIONS
from kubedistill_runtime.evaluation.metrics.text import bleu, chrf, exact_match, token_f1

Score = Callable[[str | None, Sequence[str]], float]
"""(answer, or None where it is not in the required form; references) -> 0 to 1; the best reference counts."""
Corpus = Callable[[Sequence[str | None], Sequence[Sequence[str]]], float | None]
"""The same over all rows at once, for what is not a mean of rows; None where nothing can be said."""

CORPUS: dict[str, Corpus] = {"macroF1": macro_f1, "bleu": bleu}


def scores(comparison: AnswerComparison = "Default") -> Mapping[str, Score]:
    """Return the metrics of single rows by name, with the rule by which short answers are equal."""
    words = NORMALIZATIONS[comparison]
    return {
        "accuracy": exact,
        "exactMatch": partial(exact_match, words=words),
        "tokenF1": partial(token_f1, words=words),
        "chrf": chrf,
    }


METRICS = (*scores(), *CORPUS)


def measure(
    name: str,
    answers: Sequence[str | None],
    references: Sequence[Sequence[str]],
    *,
    comparison: AnswerComparison = "Default",
) -> float | None:
    """Return one metric over all rows, 0 to 1; None without rows."""
    if not answers:
        return None
    if name in CORPUS:
        return CORPUS[name](answers, references)
    score = scores(comparison)[name]
    return sum(score(*row) for row in zip(answers, references, strict=True)) / len(answers)
