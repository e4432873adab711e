"""Numbers in answers: one canonical form per value, or the word itself if its value is ambiguous."""

import math
import re
from fractions import Fraction
from unicodedata import category

_MAX_LENGTH = 400  # characters; a person would not write longer numbers

_DECIMAL = re.compile(r"(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)(?:e[+-]?\d{1,3})?")
_GROUPED_BY_COMMA = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_GROUPED_BY_POINT = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}|[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}\.\d{3}")  # 1.000 is one in English, but a thousand in German
_RATIO = re.compile(r"([1-9]\d*)/([1-9]\d*)")
_UNITS = "%‰‱"


def canonical_number(word: str) -> str:
    """Return a word's value as a fraction in lowest terms, with its currency or percent sign; otherwise the word.

    The word is case-folded, with ASCII digits and signs. These stay unchanged: a point before exactly three digits
    (1.000), a comma that does not group thousands (3,14), leading zeros (007), and a ratio that is not in lowest terms
    (6/8, a time signature).
    """
    if len(word) > _MAX_LENGTH:
        return word
    sign, rest = (word[0], word[1:]) if word[:1] in ("+", "-") else ("", word)
    before = rest[:1] if rest and category(rest[0]) == "Sc" else ""
    rest = rest[len(before) :]
    if not sign and before and rest[:1] in ("+", "-"):  # $-5
        sign, rest = rest[0], rest[1:]
    after = rest[-1:] if rest and (rest[-1] in _UNITS or category(rest[-1]) == "Sc") else ""
    body = rest[: len(rest) - len(after)]
    minus = "-" if sign == "-" else ""
    if _AMBIGUOUS.fullmatch(body):
        return f"{minus}{before}{body}{after}"
    value = _value(body)
    if value is None:
        return word
    return f"{minus if value else ''}{before}{value}{after}"


def _value(body: str) -> Fraction | None:
    if _DECIMAL.fullmatch(body):
        return Fraction(body)
    if _GROUPED_BY_COMMA.fullmatch(body):
        return Fraction(body.replace(",", ""))
    if _GROUPED_BY_POINT.fullmatch(body):
        return Fraction(body.replace(".", "").replace(",", "."))
    ratio = _RATIO.fullmatch(body)
    if ratio and math.gcd(int(ratio[1]), int(ratio[2])) == 1:
        return Fraction(body)
    return None
