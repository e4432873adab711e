"""Math: which final answer a solution gives, and that nothing is taken for one that is not."""

import itertools
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.tasks.math import final_answer

ANSWERS = {
    "a number": ("42", "42"),
    "a sign": ("-3.5", "-3.5"),
    "a currency": ("$12.50", "$12.50"),
    "a percentage": ("50 %", "50 %"),
    "a fraction": ("1/2", "1/2"),
    "a fraction of Unicode": ("½", "½"),
    "digits of another script": ("١٢", "١٢"),
    "LaTeX": ("\\frac{1}{2}", "\\frac{1}{2}"),
    "LaTeX in dollars": ("$\\frac{1}{2}$.", "\\frac{1}{2}"),
    "LaTeX in parentheses": ("\\(5\\)", "5"),
    "an equation": ("x = 3", "x = 3"),
    "a variable": ("a", "a"),
    "a polynomial": ("3x + 2", "3x + 2"),
    "a pair": ("(1, 2)", "(1, 2)"),
    "a unit": ("12 apples", "12 apples"),
    "a unit of two words": ("5 square meters", "5 square meters"),
    "a unit with a slash": ("60 km/h", "60 km/h"),
    "a unit in LaTeX": ("\\frac{3}{4} \\text{ cups}", "\\frac{3}{4} \\text{ cups}"),
    "a box": ("so \\boxed{\\frac{1}{2}} in all", "\\frac{1}{2}"),
    "the last box": ("\\boxed{1} or rather \\boxed{2}", "2"),
    "a box of words": ("\\boxed{\\text{blue}}", "\\text{blue}"),
    "a box with escaped braces": ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    "GSM8K": ("6 * 7 = 42\n#### 42", "42"),
    "GSM8K with thousands": ("…\n#### 1,234", "1,234"),
    "a sentence": ("Thus the answer is 42.", "42"),
    "a longer sentence": ("The answer to the question is 3.5 km. Well done", "3.5 km"),
    "a heading": ("**Answer:** $\\pi$", "\\pi"),
    "the last of two": ("The answer is 4. No, the answer is 5.", "5"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_final_answer_is_found(case: str) -> None:
    text, answer = ANSWERS[case]
    assert final_answer(text) == answer
    assert TASKS["Math"].parse(text, Task(type="Math")) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        ".",
        "yes",
        "a dog",
        "forty-two",
        "She has 12 apples left",
        "not 12",
        "3 or 4",
        "the answer is not 5",
        "The answer is 3 or 4.",
        "6 * 7 = 42\n42 - 2 = 40",
        "\\boxed{}",
        "\\boxed{1",
        "answer: unknown",
        "1" * 300,
    ],
)
def test_a_number_that_may_not_be_the_answer_is_not_taken_for_it(text: str) -> None:
    """Not even \\boxed{1: a solution that was cut off has no answer."""
    assert final_answer(text) is None


pieces = st.sampled_from([*"0123456789.,/%$-+=^ ()[]{}\\abx\n#:*", "answer is ", "\\boxed{", "#### ", "\\frac"])


def is_group(text: str) -> bool:
    """Return whether braces around a string would close at its end, as in LaTeX, where a backslash escapes a brace."""
    plain = re.sub(r"\\.", "", text, flags=re.DOTALL)
    depths = [*itertools.accumulate({"{": 1, "}": -1}.get(one, 0) for one in plain)]
    return not plain.endswith("\\") and min(depths, default=0) == 0 == (depths or [0])[-1]


@given(st.lists(pieces).map("".join) | st.text())
@example("0\\")
def test_whatever_is_read_is_part_of_the_text_and_reads_as_itself(text: str) -> None:
    found = final_answer(text)
    if found is not None:
        plain = text.replace("*", "").replace("_", "").replace("`", "")
        assert found
        assert found in text or found.replace("*", "").replace("_", "").replace("`", "") in plain
        assert not is_group(found) or final_answer(f"\\boxed{{{found}}}") == found


@pytest.mark.parametrize(
    "text",
    ["answer is " * 5000, "1" * 100_000, "\\boxed{" * 20_000, "answer" + " " * 50_000, "\\text{a}" * 24 + "zz1"],
    ids=["announcements", "digits", "open boxes", "spaces", "commands"],
)
def test_long_strings_take_linear_time(text: str) -> None:
    began = time.process_time()
    final_answer(text)
    assert time.process_time() - began < 20  # seconds; in quadratic time it would be minutes


@pytest.mark.parametrize(
    ("references", "refused"),
    [(("42",), False), (("so\n#### 42",), False), ((), False), (("42", "it depends"), True), (("cannot say",), True)],
)
def test_a_reference_must_have_a_final_answer(references: tuple[str, ...], refused: bool) -> None:
    check = TASKS["Math"].check_references
    assert check is not None
    problem = check(Record("r", (Message("user", "?"),), references), Task(type="Math"))
    assert (problem is not None) == refused
    if problem is not None:
        assert references[-1] in problem
