"""Metrics: answers and references become fractions. One is a function in a file here, and a row in a table below."""

from collections.abc import Callable, Sequence

from kubedistill_runtime.evaluation.metrics.labels import exact, macro_f1
from kubedistill_runtime.evaluation.metrics.text import bleu, chrf, exact_match, token_f1

Score = Callable[[str | None, Sequence[str]], float]
"""(answer, or None where it is not in the required form; references) -> 0 to 1; the best reference counts."""
Corpus = Callable[[Sequence[str | None], Sequence[Sequence[str]]], float]
"""The same over all rows at once, for what is no mean of rows."""

SCORES: dict[str, Score] = {"accuracy": exact, "exactMatch": exact_match, "tokenF1": token_f1, "chrf": chrf}
CORPUS: dict[str, Corpus] = {"macroF1": macro_f1, "bleu": bleu}
METRICS = (*SCORES, *CORPUS)


def measure(name: str, answers: Sequence[str | None], references: Sequence[Sequence[str]]) -> float:
    """One metric over all rows, 0 to 1."""
    if name in CORPUS:
        return CORPUS[name](answers, references)
    return sum(SCORES[name](*row) for row in zip(answers, references, strict=True)) / max(1, len(answers))
