"""Data as plain text: a user's "<|im_end|>" is eleven characters, not the token that ends a turn.

Tokenizers turn such text into control ids (huggingface/transformers#31336). Here, such text is marked before the
template is rendered, so that only special tokens that the template writes become control ids.
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
    """The control tokens of a tokenizer: those that it calls special, and those that end a reply."""

    ids: frozenset[int]
    pattern: re.Pattern[str] | None
    strips_left: frozenset[str]
    """Tokens that include the white space before them."""
    strips_right: frozenset[str]

    def count(self, text: str) -> int:
        """Return how often the text of a special token occurs in a string."""
        return len(self.pattern.findall(text)) if self.pattern else 0

    def mark(self, text: str, *, mark: str) -> str:
        """Split the text of each special token with a mark, so that it is plain text."""
        return self.pattern.sub(lambda found: found[0][0] + mark + found[0][1:], text) if self.pattern else text

    def remove(self, text: str) -> str:
        """Return a string without the text of special tokens."""
        return self.pattern.sub("", text) if self.pattern else text


NO_SPECIAL_TOKENS = SpecialTokens(frozenset(), None, frozenset(), frozenset())


def read_special_tokens(tokenizer: "PreTrainedTokenizerBase", *, stop_ids: Sequence[int]) -> SpecialTokens:
    """Return the added tokens that are special or stop tokens; a token of one character is treated as text."""
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
    """Return the ids of rendered text in which data was marked; all but the template's special tokens is plain text.

    Pieces between special tokens are encoded separately, as the tokenizer does.
    """
    assert special.pattern is not None, "only special tokens are marked"
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
    # split_special_tokens does not apply to tokens that are stop tokens only by generation_config.json.
    parts = (tokenizer.encode(part, add_special_tokens=False, split_special_tokens=True) for part in piece.split(mark))
    return [one for part in parts for one in part]
