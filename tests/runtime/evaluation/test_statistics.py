"""Statistics: each number by its textbook form, and what may be said about noise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.evaluation.statistics import (
    bootstrap_ci95,
    compare,
    mcnemar,
    mean_ci95,
    permutation_test,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_two_sided_binomial_sum(wins: int, losses: int, ties: int) -> None:
    count = wins + losses
    chances = [math.comb(count, k) * 0.5**count for k in range(count + 1)]
    expected = sum(chance for chance in chances if chance <= chances[wins] * (1 + 1e-9))
    assert mcnemar(np.array([1.0] * wins + [-1.0] * losses + [0.0] * ties)) == pytest.approx(min(1.0, expected))


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(5, 0, 0.0625), (6, 0, 0.03125), (10, 0, 2 / 1024), (8, 2, 0.109375)]
)
def test_mcnemar_known_values(wins: int, losses: int, p: float) -> None:
    assert mcnemar(np.array([1.0] * wins + [-1.0] * losses)) == pytest.approx(p)


@given(st.integers(0, 200), st.integers(1, 200))
def test_interval_of_one_mean_is_wilsons(hits: int, count: int) -> None:
    hits = min(hits, count)
    z, p = 1.959963984540054, hits / count
    centre = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    low, high = mean_ci95(np.array([1.0] * hits + [0.0] * (count - hits)))
    assert (low, high) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-6)
    assert 0 <= low <= p + 1e-12
    assert p - 1e-12 <= high <= 1


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 experiments of 60 rows with a true gain of 0.2; 95 % of 200 is 190, give or take 3 standard errors."""
    generator = rng()
    covered = 0
    for _ in range(200):
        difference_N = generator.choice((1.0, 0.0, -1.0), p=(0.4, 0.4, 0.2), size=60)
        low, high = bootstrap_ci95(difference_N, generator=generator)
        covered += low <= 0.2 <= high
    assert 180 <= covered <= 199


@pytest.mark.parametrize("count", [100, 1000])
def test_bootstrap_interval_nears_the_normal_one(count: int) -> None:
    difference_N = rng().normal(0.3, 1.0, count)
    half = 1.959964 * difference_N.std() / math.sqrt(count)
    expected = (difference_N.mean() - half, difference_N.mean() + half)
    assert bootstrap_ci95(difference_N, generator=rng()) == pytest.approx(expected, abs=0.08 * half)


def test_permutation_test_finds_something_in_noise_only_as_often_as_it_says() -> None:
    """300 experiments without a difference; 5 % of 300 is 15, give or take 3 standard errors."""
    generator = rng(1)
    p_values = [permutation_test(generator.normal(size=30), generator=generator) for _ in range(300)]
    assert 4 <= sum(p < 0.05 for p in p_values) <= 26
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_permutation_test_nears_the_count_over_all_signs() -> None:
    difference_N = np.array([0.3, -0.1, 0.25, 0.4, 0.05, -0.2, 0.15, 0.35])
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=8)))
    exact = (np.abs(signs @ difference_N) >= difference_N.sum() - 1e-12).mean()
    assert permutation_test(difference_N, generator=rng()) == pytest.approx(exact, abs=0.01)


def test_permutation_test_never_says_0() -> None:
    assert permutation_test(np.full(100, 0.5), generator=rng()) == pytest.approx(1 / 10_001)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([1.0] * 30 + [0.0] * 10, [0.0] * 20 + [1.0] * 10 + [0.0] * 10, "better"),
        ([0.0] * 20 + [1.0] * 10 + [0.0] * 10, [1.0] * 30 + [0.0] * 10, "worse"),
        ([1.0, 0.0] * 20, [1.0, 0.0] * 20, "not distinguishable"),
        ([1.0] * 5 + [0.0] * 35, [0.0] * 40, "not distinguishable"),  # p = 0.0625
        ([1.0] * 6 + [0.0] * 34, [0.0] * 40, "better"),  # p = 0.03125
        ([0.31, 0.5, 0.72, 0.4] * 10, [0.3, 0.52, 0.7, 0.41] * 10, "not distinguishable"),
        ([0.6, 0.7, 0.8, 0.9] * 10, [0.5, 0.55, 0.6, 0.85] * 10, "better"),
    ],
)
def test_verdict(first: list[float], second: list[float], verdict: str) -> None:
    assert compare(np.array(first), np.array(second), generator=rng()).verdict == verdict


def test_two_samples_of_one_model_are_seldom_told_apart() -> None:
    """100 pairs of equally good models on 200 records; exact McNemar keeps below its 5 %."""
    generator = rng(2)
    told = 0
    for _ in range(100):
        first_N, second_N = (generator.random((2, 200)) < 0.7).astype(np.float64)
        told += compare(first_N, second_N, generator=generator).verdict != "not distinguishable"
    assert told <= 10


def test_equal_scores_have_no_difference() -> None:
    found = compare(np.array([0.2, 0.9]), np.array([0.2, 0.9]), generator=rng())
    assert (found.mean, found.ci95, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_right_and_wrong_are_tested_exactly_and_graded_scores_by_permutation() -> None:
    binary = compare(np.array([1.0] * 12), np.array([0.0] * 12), generator=rng())
    graded = compare(np.array([0.9] * 12), np.array([0.0] * 12), generator=rng())
    assert binary.p_value == pytest.approx(2 / 2**12)
    assert graded.p_value == pytest.approx(2 / 2**12, abs=0.001)


def test_same_seed_gives_the_same_numbers() -> None:
    first_N, second_N = rng(3).random((2, 50))
    one, again, other = (compare(first_N, second_N, generator=rng(seed)) for seed in (0, 0, 1))
    assert one == again
    assert one.ci95 != other.ci95
    assert one.mean == other.mean == pytest.approx((first_N - second_N).mean())


def test_interval_of_a_difference_holds_the_difference() -> None:
    first_N, second_N = rng(4).random((2, 50))
    found = compare(first_N, second_N, generator=rng())
    assert found.ci95[0] < found.mean < found.ci95[1]
