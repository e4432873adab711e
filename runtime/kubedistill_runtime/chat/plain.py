"""Data as plain text: a user's "<|im_end|>" is eleven characters, not the token that ends a turn.

Tokenizers turn such text into control ids (huggingface/transformers#31336). Here the characters are marked before the
template is rendered, and only the special tokens that the template itself wrote become control ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens of a tokenizer that are no text: those that it calls special, and those that end a reply."""

    ids: frozenset[int]
    pattern: re.Pattern[str] | None
    strips_left: frozenset[str]
    """Tokens that take the white space before them with them."""
    strips_right: frozenset[str]

    def count(self, text: str) -> int:
        """Return how often a string holds the text of a special token."""
        return len(self.pattern.findall(text)) if self.pattern else 0

    def mark(self, text: str, *, mark: str) -> str:
        """Break the text of each special token in two with a mark, so that it is none any more."""
        return self.pattern.sub(lambda found: found[0][0] + mark + found[0][1:], text) if self.pattern else text

    def remove(self, text: str) -> str:
        """Return a string without the text of special tokens."""
        return self.pattern.sub("", text) if self.pattern else text


NO_SPECIAL_TOKENS = SpecialTokens(frozenset(), None, frozenset(), frozenset())


def read_special_tokens(tokenizer: "PreTrainedTokenizerBase", *, stop_ids: Sequence[int]) -> SpecialTokens:
    """Return the added tokens that are called special or are stop tokens; one character can't be told from text."""
    added = tokenizer.added_tokens_decoder
    found = {number: one for number, one in added.items() if one.special or number in stop_ids}
    tokens = [one for one in found.values() if len(one.content) > 1]
    names = sorted((one.content for one in tokens), key=len, reverse=True)
    return SpecialTokens(
        frozenset(found),
        re.compile("|".join(map(re.escape, names))) if names else None,
        frozenset(one.content for one in tokens if one.lstrip),
        frozenset(one.content for one in tokens if one.rstrip),
    )


def choose_mark(texts: Sequence[str]) -> str:
    """Return a character that is in none of the texts."""
    used = set().union(*texts)
    return next(mark for codes in _PRIVATE_USE for mark in map(chr, codes) if mark not in used)


def encode_marked(text: str, *, mark: str, tokenizer: "PreTrainedTokenizerBase", special: SpecialTokens) -> list[int]:
    """Return the ids of rendered text in which data was marked: the template's special tokens, all else as text.

    Pieces between special tokens are encoded one by one, as the tokenizer itself does.
    """
    assert special.pattern is not None, "only the text of special tokens is marked"
    ids: list[int] = []
    position, strips = 0, False
    for found in [*special.pattern.finditer(text), None]:
        piece = text[position : found.start() if found else len(text)]
        piece = piece.lstrip() if strips else piece
        piece = piece.rstrip() if found and found[0] in special.strips_left else piece
        if piece:
            ids += _encode_piece(piece, mark=mark, tokenizer=tokenizer, special=special)
        if found:
            ids.append(tokenizer.convert_tokens_to_ids(found[0]))
            position, strips = found.end(), found[0] in special.strips_right
    return ids


def _encode_piece(piece: str, *, mark: str, tokenizer: "PreTrainedTokenizerBase", special: SpecialTokens) -> list[int]:
    plain: list[int] = tokenizer.encode(piece.replace(mark, ""), add_special_tokens=False, split_special_tokens=True)
    if special.ids.isdisjoint(plain):
        return plain
    # Tokenizers know how to leave special tokens alone, but not those that only generation_config.json makes one.
    parts = (tokenizer.encode(part, add_special_tokens=False, split_special_tokens=True) for part in piece.split(mark))
    return [one for part in parts for one in part]
