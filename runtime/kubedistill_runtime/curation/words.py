"""Words: how a prompt is split for comparison, whatever its script, case and Unicode form."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f"
)
_SOUTH_EAST = "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17d3\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
WORD, CJK, SOUTH_EAST = 4, 2, 1
"""Weight of an item: Chinese and Japanese have about two characters per word, Thai, Lao, Khmer and Burmese four."""


def _characters(*categories: str, without: str = "") -> str:
    """Return the characters of some categories in the first plane; with others, a pattern is ten times slower."""
    found = map(chr, range(0x10000))
    return "".join(char for char in found if unicodedata.category(char) in categories and char not in without)


_MARKS = re.escape(_characters("Mn", "Mc", "Me"))  # not in \w, but in the words of Indic and vocalized Semitic scripts
_LETTER = rf"[^\W{_CJK}{_SOUTH_EAST}]"
_NUMBER = r"\d+(?:[.,:]\d+)+!?|\d+!"
_TOKEN = re.compile(rf"{_NUMBER}|{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*|\S")
_PLAIN_TOKEN = re.compile(
    rf"{_NUMBER}|\w+|\S"
)  # for texts without marks and unspaced scripts, with the same result, seven times faster
_SPECIAL = re.compile(f"[{_MARKS}{_CJK}{_SOUTH_EAST}]")
_UNSPACED = re.compile(f"[{_CJK}{_SOUTH_EAST}]")
_CJK_ONLY = re.compile(f"[{_CJK}]")
_DASHES = {ord(char): "-" for char in [*_characters("Pd"), "\u2212"]}
_OPERATORS = frozenset([*_characters("Sm"), *"*/^%-"])
_PUNCTUATION = frozenset(_characters("Po", "Pi", "Pf", "Cc", "Cf", without="*/^%&#@\\\u00b7\u2032\u2033")) | {"`"}


def split_tokens(text: str) -> list[str]:
    """Return the words and signs of a string, case folded and in NFC, without the punctuation of sentences.

    Brackets, operators and decimals are kept, so that `2+2=` is not `2-2=` and `-5` is not `5`. Each character of a
    script without spaces is a separate token.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(_DASHES)
    pattern = _PLAIN_TOKEN if folded.isascii() or not _SPECIAL.search(folded) else _TOKEN
    return [token for token in pattern.findall(folded) if token not in _PUNCTUATION]


def join_operators(tokens: Sequence[str]) -> list[str]:
    """Return only the words among tokens; operators before a number or a single letter are joined with it."""
    if _OPERATORS.isdisjoint(tokens):
        return [token for token in tokens if token[0].isalnum() or _is_item(token)]
    items: list[str] = []
    operators = ""
    for token in tokens:
        if token in _OPERATORS:
            operators += token
        elif _is_item(token):
            items.append(operators + token if operators and (len(token) == 1 or token[0].isdigit()) else token)
            operators = ""
    return items


def weigh(items: Sequence[str]) -> Iterable[int]:
    """Return the weight of each item."""
    if "".join(items).isascii():
        return [WORD] * len(items)
    return map(_weigh, items)


def weigh_text(text: str) -> int:
    """Return the weight of all words and signs of a string; WORD is one word."""
    return sum(weigh(split_tokens(text)))


def count_words(text: str) -> int:
    """Return the number of words of a string: what is between spaces and has a letter or digit.

    Scripts without spaces have as many words as the weights of their characters say.
    """
    pieces = text.split()
    plain = sum(any(map(str.isalnum, piece)) for piece in pieces if not _UNSPACED.search(piece))
    return plain + -(-sum(weigh_text(piece) for piece in pieces if _UNSPACED.search(piece)) // WORD)


def join_items(items: Sequence[str]) -> str:
    """Return items as text, with a space before each one except characters of scripts without spaces."""
    return "".join(item if _UNSPACED.match(item) else f" {item}" for item in items).strip()


def _is_item(token: str) -> bool:
    """Return whether a token is a word, or a character of a script without spaces, rather than a sign."""
    return token[0].isalnum() or token[0] == "_" or _UNSPACED.match(token) is not None


@lru_cache(maxsize=1 << 16)
def _weigh(item: str) -> int:
    if not _UNSPACED.search(item):
        return WORD
    return CJK if _CJK_ONLY.search(item) else SOUTH_EAST
