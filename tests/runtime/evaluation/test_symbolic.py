"""Symbolic equality: real math-verify in its own process, and processes that hang, end or never start."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from kubedistill.errors import MissingDependency
from kubedistill_runtime.evaluation import symbolic
from kubedistill_runtime.evaluation.metrics.math import math_match
from kubedistill_runtime.evaluation.symbolic import SymbolicJudge


@pytest.fixture(scope="module")
def judge() -> Iterator[SymbolicJudge]:
    judge = SymbolicJudge()
    yield judge
    judge.close()


SAME = [
    ("\\frac{1}{2}", "0.5"),
    ("2\\sqrt{2}", "\\sqrt{8}"),
    ("x=3", "3"),
    ("12 apples", "12"),
    ("60 km/h", "60"),
    ("\\$18", "$18"),
    ("50%", "0.5"),
    ("(1,2)", "(1, 2)"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("0.333333", "\\frac{1}{3}"),
    ("2^{10}", "1024"),
    ("5x", "x*5"),
    ("$9{,}500", "9500"),
    ("9\\,500", "9500"),
    ("1,\\!000,\\!000", "1000000"),
    ("-$3", "-3"),
    ("20 €", "20"),
    ("$18 per hour", "18"),
    ("10 \\text{ cm}^2", "10 cm^2"),
    ("\\frac{1}{2} cup", "0.5"),
    ("x = 12 dollars", "12"),
    ("72, altogether", "72"),
    ("5 (five)", "5"),
    ("1331 and 1728", "1728, 1331"),
    ("1331 \\text{ and } 1728", "1331, 1728"),
    ("2*sqrt(3)", "2\\sqrt{3}"),
    ("\\frac{ab}{2}", "\\frac{1}{2}ba"),
    ("1 - \\frac{1}{\\mathrm{e}}", "1 - e^{-1}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix} "),
    ("\\frac{1}{2^{99}}", "2^{-99}"),
]
DIFFERENT = [
    ("3.14", "\\pi"),
    ("-5", "5"),
    ("[0,1)", "[0,1]"),
    ("\\text{blue}", "\\text{red}"),
    ("x", "y"),
    ("", "1"),
    ("1" * 3000, "1" * 3000 + "2"),
    ("509", "9\\,500"),
    ("1728", "1331 and 1728"),
    ("1728", "1331 \\text{ and } 1728"),
    ("-3", "x = 3 or x = -3"),
    ("19, 46, \\text{ and } 82", "21, 36, and 82"),
    ("30 minutes", "2 hours 30 minutes"),
    ("2 hours 30 minutes", "2 hours 30 seconds"),
    ("2*sqrt(3)", "2*sqrt(5)"),
    ("ln 2", "2"),
    ("1 - \\frac{1}{\\mathrm{e}}", "1 + \\frac{1}{\\mathrm{e}}"),
    ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"),
    ("2xy", "2ab"),
    ("lube", "blue"),
    ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"),
    ("\\frac{1}{2004!}", "\\frac{1}{2006!}"),
]


@pytest.mark.parametrize(("answer", "reference"), SAME)
def test_expressions_of_one_value_are_equal(answer: str, reference: str, judge: SymbolicJudge) -> None:
    assert judge.are_equal(answer, reference)


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_expressions_of_two_values_are_not(answer: str, reference: str, judge: SymbolicJudge) -> None:
    assert not judge.are_equal(answer, reference)


@pytest.mark.parametrize("answer", ["9^{9^{9^{9}}}", "10000000!", "\\frac{", "\x00", "{" * 1000, '", "'])
def test_nothing_that_a_model_may_write_ends_the_comparison(answer: str, judge: SymbolicJudge) -> None:
    assert not judge.are_equal(answer, "3")
    assert judge.are_equal("0.5", "1/2")


def scripted(code: str) -> SymbolicJudge:
    """A judge whose worker is a few lines of Python."""
    return SymbolicJudge((sys.executable, "-c", f"import os, sys, time; {code}"), seconds=0.5)


def test_a_comparison_that_hangs_is_not_equal_and_its_process_is_killed() -> None:
    judge = scripted("os.write(1, b'r'); time.sleep(600)")
    assert not judge.are_equal("1", "1")
    assert judge._worker is None
    judge.close()


def test_a_worker_that_ends_is_started_again(judge: SymbolicJudge) -> None:
    assert judge.are_equal("1/2", "0.5")
    assert judge._worker is not None
    first = judge._worker.pid
    os.kill(first, signal.SIGKILL)
    judge.are_equal("1/2", "0.5")
    assert judge.are_equal("1/2", "0.5")
    assert judge._worker is not None
    assert judge._worker.pid != first


def test_a_worker_that_does_not_start_is_an_error_and_not_a_wrong_answer() -> None:
    judge = scripted("sys.exit(1)")
    with pytest.raises(MissingDependency) as refused:
        judge.are_equal("1", "1")
    assert refused.value.at == "math-verify"


def test_a_worker_ends_with_its_parent() -> None:
    judge = SymbolicJudge()
    assert judge.are_equal("1/2", "0.5")
    worker = judge._worker
    assert worker is not None
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=60) == 0
    assert worker.stdout is not None
    worker.stdout.close()


@pytest.mark.parametrize(
    ("answer", "references", "score"),
    [
        ("42", ["6 * 7\n#### 42"], 1),
        ("1,000", ["1000"], 1),
        ("41", ["42"], 0),
        (None, ["42"], 0),
        ("42", [], 0),
        ("42", ["41", "\\boxed{42}"], 1),
    ],
)
def test_plain_numbers_start_no_process(
    answer: str | None, references: list[str], score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbolic, "COMMAND", ("false",))
    assert math_match(answer, references) == score


def test_the_metric_compares_values() -> None:
    assert math_match("\\frac{1}{2}", ["The answer is 0.5."]) == 1
    assert math_match("\\frac{1}{3}", ["The answer is 0.5."]) == 0


def test_a_word_is_the_same_in_latex() -> None:
    assert math_match("Tuesday", ["\\boxed{\\text{Tuesday}}"]) == 1
    assert math_match("\\text{(B)}", ["\\boxed{B}"]) == 1
    assert math_match("\\text{Tuesday}", ["\\boxed{\\text{Monday}}"]) == 0
