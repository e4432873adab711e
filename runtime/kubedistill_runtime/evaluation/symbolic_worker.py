"""The process in which math-verify compares answers, so that a hang or a full memory affects nothing else.

It reads a JSON line `[answer, reference]` from stdin, and writes one byte: `r` when it is ready, then `1` or `0`.
"""

import json
import logging
import os
import re
import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic

_MOST_BYTES = 4 * 2**30
"""Address space; importing takes about 1 GiB of it."""
_SMALL, _CLOSE = 1e-3, 1e-5
"""Numbers below the first differ if their quotient does by the second: math-verify compares 6 decimals."""
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\[,;:! ])(?=\d{3}(?!\d))")
"""What LaTeX writes between groups of digits; math-verify would take a space for the sum of a mixed number."""
_CURRENCY = re.compile(r"(?<!\\)[$€£¥₹]")
_LETTER = re.compile(r"\\mathrm\s*\{\s*(\w)\s*\}")
_UNIT = re.compile(
    r"((?:[A-Za-z]\s*=)?(?:[^A-Za-z\\]|\\[A-Za-z]+|\\[^A-Za-z])*[\d})%]),?\s+(?=[^^]*[A-Za-z]{2})\(?[A-Za-z]"
    r"[A-Za-z./\s]*\)?"
    r"(?:\^\{?-?\d\}?|(?<=[A-Za-z])[\d²³])?"
)
"""A value without letters, and words after it."""
_WORDS_BEFORE_A_NUMBER = re.compile(r"(?:^|\s)(?!(?:and|or)\b)[A-Za-z]{2,}\s+[^=]*\d")
_ONLY_WORDS = re.compile(r"[^\w\\]*[A-Za-z]{2,}(?:[\s'][A-Za-z]+)*\W*")
"""As a formula, words would be products of their letters."""


def main() -> None:
    """Answer until stdin ends, which it does when the parent ends."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # output of libraries must not mix with replies
    logging.disable()  # each comparison would warn that the caller sets the time limit
    from math_verify import LatexExtractionConfig, parse, verify

    # Without its own rule for plain text, which takes the last number wherever the rest can't be read.
    latex = [LatexExtractionConfig()]
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))

    def read(text: str) -> "list[Basic]":
        formula = _as_formula(text)
        parsed = [] if formula is None else parse(f"${formula}$", extraction_config=latex, parsing_timeout=None)
        return [one for one in parsed if not isinstance(one, str)]

    def are_equal(answer: str, reference: str) -> bool:
        given, wanted = read(answer), read(reference)
        same = bool(given and wanted) and verify(wanted, given, timeout_seconds=None)
        return same and not _differ_by_a_factor(given[0], wanted[0])

    replies.write(b"r")
    for line in sys.stdin:
        try:
            equal = are_equal(*json.loads(line))
        except Exception:  # sympy raises any error; answers that can't be compared are not equal
            equal = False
        replies.write(b"1" if equal else b"0")


def _as_formula(text: str) -> str | None:
    """Return the formula that a string is, without a unit at its end; None if it has words in other places."""
    bare = _LETTER.sub(r"\1", _THOUSANDS.sub(",", _CURRENCY.sub("", text))).strip()
    if (found := _UNIT.fullmatch(bare)) is not None:
        return found[1]
    return None if _WORDS_BEFORE_A_NUMBER.search(bare) or _ONLY_WORDS.fullmatch(bare) else bare


def _differ_by_a_factor(given: "Basic", wanted: "Basic") -> bool:
    """Return whether two numbers are so small that 6 decimals do not tell them apart, and differ."""
    if not (getattr(given, "is_number", False) and getattr(wanted, "is_number", False)):
        return False
    one, other = given.doit().evalf(), wanted.doit().evalf()  # doit: a percentage is a product that is not computed
    largest = max(abs(one), abs(other))
    return bool(0 < largest < _SMALL and abs(one - other) > largest * _CLOSE)


if __name__ == "__main__":
    main()
