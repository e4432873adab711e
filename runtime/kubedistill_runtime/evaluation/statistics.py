"""Paired statistics: whether one model is better than another on the same prompts, and by how much.

Shapes: N rows, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from kubedistill.report.models import Verdict

RESAMPLES, SIGNIFICANT = 10_000, 0.05
_CHUNK = 500  # resamples in memory at once

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the first model is, in score."""

    mean: float
    ci95: tuple[float, float]
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """The verdict at the 5 % level."""
        if self.p_value >= SIGNIFICANT:
            return "not distinguishable"
        return "better" if self.mean > 0 else "worse"


def compare(first_N: Scores, second_N: Scores, *, generator: np.random.Generator) -> Difference:
    """Compare two models' scores row by row: paired bootstrap interval, and an exact or permutation test."""
    difference_N = first_N - second_N
    if not difference_N.any():
        return Difference(0.0, (0.0, 0.0), 1.0)
    is_binary = bool(np.isin(difference_N, (-1.0, 0.0, 1.0)).all())
    p_value = mcnemar(difference_N) if is_binary else permutation_test(difference_N, generator=generator)
    return Difference(float(difference_N.mean()), bootstrap_ci95(difference_N, generator=generator), p_value)


def bootstrap_ci95(difference_N: Scores, *, generator: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of the mean over resampled rows (paired bootstrap, Koehn 2004)."""
    count = len(difference_N)
    means = [
        difference_N[generator.integers(count, size=(_CHUNK, count))].mean(axis=1) for _ in range(RESAMPLES // _CHUNK)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def mcnemar(difference_N: Scores) -> float:
    """Return the p-value of the exact McNemar test: a sign test on the rows that only one of the models has right."""
    wins, losses = int((difference_N > 0).sum()), int((difference_N < 0).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def permutation_test(difference_N: Scores, *, generator: np.random.Generator) -> float:
    """Return the p-value of the paired permutation test: how often random signs give a mean at least as far from 0."""
    observed, further = abs(difference_N.sum()), 0
    for _ in range(RESAMPLES // _CHUNK):
        signs_RN = generator.choice((-1.0, 1.0), size=(_CHUNK, len(difference_N)))
        further += int((np.abs(signs_RN @ difference_N) >= observed - 1e-12).sum())
    return (further + 1) / (RESAMPLES + 1)


def mean_ci95(scores_N: Scores) -> tuple[float, float]:
    """Return the Wilson interval (1927) of one model's mean score, which stays within 0 to 1."""
    count, mean, z = len(scores_N), float(scores_N.mean()), 1.959964
    center = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(scores_N.var() / count + z * z / (4 * count * count))
    return max(0.0, center - float(half)), min(1.0, center + float(half))


def quotient(part: float, whole: float) -> float | None:
    """Return a quotient, or None if it is not a finite number."""
    return part / whole if whole > 0 and math.isfinite(part / whole) else None
