"""Typing mistakes: letters swapped, dropped or doubled."""

import random

TYPOS = 3
MIN_LETTERS = 5


def add_typos(rng: random.Random, *, text: str) -> str:
    """The text with one mistake in each of up to three of its longer words."""
    words = text.split(" ")
    long_words = [place for place, word in enumerate(words) if len(word.strip(",")) >= MIN_LETTERS]
    for place in rng.sample(long_words, min(TYPOS, len(long_words))):
        words[place] = misspell(rng, word=words[place])
    return " ".join(words)


def misspell(rng: random.Random, *, word: str) -> str:
    """The word with one mistake inside it; its first and last letter stay."""
    at = rng.randrange(1, len(word.strip(",")) - 2)
    before, letter, following, after = word[:at], word[at], word[at + 1], word[at + 2 :]
    swapped, dropped, doubled = following + letter, following, letter + letter + following
    return before + rng.choice((swapped, dropped, doubled)) + after
