"""Normalization of short answers: which spellings are equal. docs/guide.md has the table for users."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from string import punctuation
from typing import Literal
from unicodedata import category, decimal, decomposition, normalize

from kubedistill.v1alpha1 import AnswerComparison, Spec
from kubedistill_runtime.evaluation.metrics.numbers import canonical_number
from kubedistill_runtime.json_answers import json_words

Words = tuple[str, ...]

_SQUAD_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SQUAD_PUNCTUATION = str.maketrans("", "", punctuation)

_ARTICLES = ("a", "an", "the")
_JOINERS = "\u200c\u200d"  # invisible, but they change what a word means or an emoji shows
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63", "-"),  # dashes and the minus sign
        **dict.fromkeys("‘’‚‛ʼ", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("⁄∕", "/"),
        "٪": "%", "٫": ".", "٬": ",",
    }
)  # fmt: skip
_THOUSANDS = re.compile(r"(?<=\d)['\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_SPACED_UNIT = re.compile(r"(?<=\d)\s+(?=[%‰‱])")
_MIXED = re.compile(r"(?<![\w.,/])(\d{1,9})\s+([1-9]\d{0,8})/([1-9]\d{0,8})(?![\w/]|[.,]\d)")
_LONE_DASH = re.compile(r"(?<!\S)-+(?=\s+(?!\s|\.?\d)|$)")

_PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "«": "»", "`": "`", "*": "*"}
_MEANT = frozenset("-%‰‱#&@*/\\§′″‴_()[]{}")
"""Punctuation that distinguishes answers in any position: C#, A-, 50%, [1, 2). Brackets are removed only in pairs."""
_FACTORIAL_OR_LENGTH = re.compile(r"(?:\b[a-z]|[\d)])!$|\d['\"]$")  # 5!, n!, and feet and inches: 5', 5"


def squad_words(text: str) -> Words:
    """Return words in lower case without ASCII punctuation and English articles, as SQuAD does (arXiv 1606.05250)."""
    return tuple(_SQUAD_ARTICLES.sub(" ", text.lower().translate(_SQUAD_PUNCTUATION)).split())


@lru_cache(maxsize=4096)
def answer_words(text: str) -> Words:
    """Return the words of an answer for comparison; two answers are equal if their words are.

    Canonical composition (NFC), width and case are folded. Punctuation is stripped at the ends of text and words, but
    signs, decimal marks, percent, fractions, superscripts and symbols stay. Numbers are replaced by their value. A
    leading English article is dropped if other words follow. A string with only punctuation stays unchanged.
    """
    folded = _fold(text)
    raw = _bare(folded).split()
    bare = [word for word in map(_bare, raw) if word]
    words = bare[1:] if bare and raw[0] == bare[0] and _begins_with_article(bare) else bare
    return tuple(map(canonical_number, words)) or (normalize("NFC", text).strip(),)


Equality = AnswerComparison | Literal["JSON"]
"""The rule by which two answers are equal: the one of a manifest, or that of JSON values."""
NORMALIZATIONS: Mapping[Equality, Callable[[str], Words]] = {
    "Default": answer_words,
    "SQuAD": squad_words,
    "JSON": json_words,
}


def find_equality(spec: Spec) -> Equality:
    """Return the rule by which two answers of a job are equal."""
    answer = spec.task.answer
    return "JSON" if answer is not None and answer.json_schema is not None else spec.evaluation.answer_comparison


def _fold(text: str) -> str:
    """Fold variants of characters: composition, width, case, digits, dashes, quotes."""
    text = "".join(map(_fold_width, text))
    text = normalize("NFC", normalize("NFC", text).casefold())
    text = "".join(map(_fold_character, text)).translate(_SAME)
    text = _MIXED.sub(_improper, text)
    text = _SPACED_UNIT.sub("", _THOUSANDS.sub(",", text))
    return _LONE_DASH.sub(" ", text)


def _fold_width(character: str) -> str:
    wide = not character.isascii() and decomposition(character).startswith(("<wide>", "<narrow>"))
    return normalize("NFKC", character) if wide else character


def _fold_character(character: str) -> str:
    if character.isascii():
        return character
    kind = category(character)
    if kind == "Nd":
        return str(decimal(character))
    if kind == "Cf":
        return character if character in _JOINERS else ""
    if decomposition(character).startswith("<fraction>"):
        return f" {normalize('NFKC', character)}"
    return character


def _improper(mixed: re.Match[str]) -> str:
    whole, part, parts = (int(number) for number in mixed.groups())
    return f"{whole * parts + part}/{parts}" if part < parts else mixed[0]


def _bare(text: str) -> str:
    """Strip pairs of quotes and brackets, and meaningless punctuation, from both ends of a string."""
    while True:
        bare = _trim(_unwrap(text.strip()))
        if bare == text:
            return bare
        text = bare


def _unwrap(text: str) -> str:
    if len(text) < 3 or _PAIRS.get(text[0]) != text[-1]:
        return text
    pair, inner = text[0] + text[-1], text[1:-1]
    core = inner.strip(pair)
    listed = text[0] in "([{" and any(mark in inner for mark in ",;")  # an interval or a set
    return text if not core or listed or any(mark in core for mark in pair) else inner


def _trim(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _strips(text[start]) and not _begins_word(text, start):
        start += 1
    while end > start and _strips(text[end - 1]) and not _ends_word(text[start:end]):
        end -= 1
    return text[start:end]


def _strips(character: str) -> bool:
    return character == "`" or (category(character).startswith("P") and character not in _MEANT)


def _begins_word(text: str, place: int) -> bool:
    """Return whether a punctuation mark belongs to the following text: .5 and ,5 and .net, but not ...net."""
    mark, following = text[place], text[place + 1 : place + 2]
    single = not text[:place].endswith(mark)
    return single and ((mark in ".," and following.isdigit()) or (mark == "." and following.isalpha()))


def _ends_word(text: str) -> bool:
    return _FACTORIAL_OR_LENGTH.search(text) is not None


def _begins_with_article(words: list[str]) -> bool:
    """Return whether the first word is an English article; `a` and `an` only if all letters are ASCII."""
    if len(words) < 2 or words[1] in _ARTICLES:
        return False
    if words[0] == "the":
        return True
    latin = all(character.isascii() for word in words for character in word if character.isalpha())
    return words[0] in _ARTICLES and latin and len(words[1]) > 1 and words[1][0].isalpha()
