"""Patterns: which are taken, what they match, and that no string takes long."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "whole", "part", "nothing"),
    [
        ("[a-z]+", "abc", "1abc2", "123"),
        ("a|b", "b", "xb", "x"),
        ("^a$", "a", "a", "a\n"),
        ("(?i)yes", "YES", "oh yes", "no"),
        ("é", "é", "café", "e\u0301"),
        (r"\d{3}-\d{2}", "123-45", "x123-45", "12-345"),
    ],
)
def test_a_pattern_matches_a_whole_string_or_a_part(pattern: str, whole: str, part: str, nothing: str) -> None:
    assert compile_pattern(pattern, whole=True)(whole)
    assert compile_pattern(pattern, whole=False)(part)
    assert compile_pattern(pattern, whole=True)(part) == (whole == part)
    assert not compile_pattern(pattern, whole=False)(nothing)


@pytest.mark.parametrize("pattern", ["(", "a)|(b", "(?=a)", r"(a)\1", "a{1000}{1000}{10}", "[z-a]", "*", "(?x)a # b"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_not_a_pattern_is_refused_with_the_cause(pattern: str, whole: bool) -> None:
    if pattern == "(?x)a # b" and not whole:
        assert compile_pattern(pattern, whole=False)("a")
        return
    with pytest.raises(ValueError, match=r"not a regular expression in the syntax of RE2 \(.+\)"):
        compile_pattern(pattern, whole=whole)


def test_a_pattern_that_takes_exponential_time_elsewhere_takes_linear_time() -> None:
    began = time.process_time()
    assert not compile_pattern("(a+)+b", whole=True)("a" * 200_000)
    assert time.process_time() - began < 10


@given(pattern=st.from_regex(r"[ab.?*+|()\[\]\\^$]{0,8}", fullmatch=True), text=st.text(max_size=8))
def test_any_string_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    try:
        matches = compile_pattern(pattern, whole=True)
    except ValueError:
        return
    assert isinstance(matches(text), bool)


@given(pattern=st.sampled_from(["[ab]+", "a?b*", "(ab|c)+", "a.c"]), text=st.text("abc\n", max_size=6))
def test_a_pattern_matches_what_pythons_expressions_match(pattern: str, text: str) -> None:
    assert compile_pattern(pattern, whole=True)(text) == (re.fullmatch(pattern, text) is not None)
    assert compile_pattern(pattern, whole=False)(text) == (re.search(pattern, text) is not None)


def test_half_a_surrogate_pair_matches_nothing() -> None:
    assert not compile_pattern(".*", whole=True)("\ud800")
