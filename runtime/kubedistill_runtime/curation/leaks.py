"""Leaks: training prompts that share 13 words in a row with a test prompt, or are one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kubedistill_runtime.records import Record

NGRAM = 13  # the length that GPT-3's decontamination used (arXiv 2005.14165, appendix C)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class LeakIndex:
    """All runs of 13 words in what the users of the test records say; a shorter text counts whole."""

    grams: frozenset[tuple[str, ...]]

    @classmethod
    def build(cls, records: Iterable[Record]) -> Self:
        """Index the test records."""
        return cls(frozenset(gram for record in records for gram in _grams(record)))

    def overlaps(self, record: Record) -> bool:
        """Whether a record shares a run of words with the test records."""
        return any(gram in self.grams for gram in _grams(record))


def _grams(record: Record) -> Iterable[tuple[str, ...]]:
    """The runs of a record's user messages, laid end to end: a short message in common is no leak, a talk is."""
    texts = [message.content for message in record.messages if message.role == "user"]
    words = tuple(word for text in texts for word in _WORD.findall(text.casefold()))
    if len(words) <= NGRAM:
        yield words or tuple(texts)  # what has no words is equal only to itself
    else:
        yield from zip(*(words[start:] for start in range(NGRAM)), strict=False)
