"""Metrics of mathematical answers."""

import re
from collections.abc import Sequence

from kubedistill_runtime.evaluation.metrics.normalization import answer_words
from kubedistill_runtime.evaluation.metrics.numbers import canonical_number
from kubedistill_runtime.evaluation.metrics.units import differ_in_units
from kubedistill_runtime.evaluation.symbolic import are_equal
from kubedistill_runtime.tasks.math import final_answer

_INTEGER = re.compile(r"-?\d+")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")


def math_match(answer: str | None, references: Sequence[str]) -> float:
    """Return 1 if the answer equals the final answer of a reference in value: 1/2 = 0.5 = \\\\frac{1}{2}.

    If both state a unit, it must be the same one.
    """
    if answer is None:
        return 0.0
    return float(any(_are_same(answer, final_answer(reference) or reference) for reference in references))


def _are_same(answer: str, wanted: str) -> bool:
    """Return whether two answers are equal; only nontrivial cases are computed symbolically."""
    answer, wanted = _without_command(answer), _without_command(wanted)
    if answer_words(answer) == answer_words(wanted):
        return True
    if all(_INTEGER.fullmatch(canonical_number(text.strip())) for text in (answer, wanted)):
        return False
    return not differ_in_units(answer, wanted) and are_equal(answer, wanted)


def _without_command(text: str) -> str:
    """Return the words of an answer that is nothing but words in LaTeX."""
    found = _TEXT.fullmatch(text.strip())
    return text if found is None else found[1]
