"""Which answers state different units: a value in one unit is not that value in another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.evaluation.metrics.math import math_match
from kubedistill_runtime.evaluation.metrics.units import differ_in_units, find_unit

DIFFERENT = [
    ("5 cm", "5 m"),
    ("5\\text{ cm}", "5\\text{ m}"),
    ("5\\,\\mathrm{cm}", "5 km"),
    ("$5$ cm", "5 m"),
    ("5 cm^2", "5 cm"),
    ("5 square meters", "5 meters"),
    ("5 m/s^2", "5 m/s"),
    ("60 km/h", "60 miles per hour"),
    ("5 hours", "5 minutes"),
    ("$5", "€5"),
    ("5 dollars", "5 cents"),
    ("$\\$18$", "18 euros"),
]
SAME = [
    ("5 cm", "5 centimeters"),
    ("5 feet", "5 ft"),
    ("60 mph", "60 miles per hour"),
    ("5 square meters", "5\\text{ m}^2"),
    ("x = \\frac{1}{2} \\text{ cm}^2", "0.5 cm²"),
    ("30^\\circ", "30 degrees"),
    ("5 dollars", "\\$5"),
    ("7 Miles.", "7 miles"),
]
NOT_JUDGED = [
    ("5 cm", "5"),
    ("5 apples", "5 oranges"),
    ("3x", "3y"),
    ("5 pounds", "€5"),
    ("12 units", "12 cm"),
    ("$5$", "€5"),
    ("", "5 m"),
]


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_a_value_in_another_unit_is_another_answer(answer: str, reference: str) -> None:
    assert differ_in_units(answer, reference)
    assert differ_in_units(reference, answer)


@pytest.mark.parametrize(("answer", "reference"), SAME)
def test_one_unit_may_be_spelled_in_several_ways(answer: str, reference: str) -> None:
    assert find_unit(answer) == find_unit(reference) is not None
    assert not differ_in_units(answer, reference)


@pytest.mark.parametrize(("answer", "reference"), NOT_JUDGED)
def test_units_that_are_missing_or_not_known_do_not_decide(answer: str, reference: str) -> None:
    assert not differ_in_units(answer, reference)


def test_the_score_of_math_reads_units() -> None:
    assert math_match("5 cm", ["5 m"]) == 0
    assert math_match("5 cm", ["5 m", "\\boxed{5\\text{ cm}}"]) == 1
    assert math_match("5", ["5 cm"]) == 1


@given(st.text(alphabet="5 cms/^{}$€\\°².text\n", max_size=80))
def test_any_answer_is_read(text: str) -> None:
    assert not differ_in_units(text, text)
