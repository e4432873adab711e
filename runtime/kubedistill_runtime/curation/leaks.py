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
    """All runs of 13 words in the user messages of the test records; a shorter message counts whole."""

    grams: frozenset[tuple[str, ...]]

    @classmethod
    def build(cls, records: Iterable[Record]) -> Self:
        """Index the test records."""
        return cls(frozenset(gram for record in records for gram in _grams(record)))

    def overlaps(self, record: Record) -> bool:
        """Whether a record shares a run of words with the test records."""
        return any(gram in self.grams for gram in _grams(record))


def _grams(record: Record) -> Iterable[tuple[str, ...]]:
    for message in record.messages:
        if message.role != "user":
            continue
        words = tuple(_WORD.findall(message.content.casefold()))
        if len(words) <= NGRAM:
            yield words
        else:
            yield from zip(*(words[start:] for start in range(NGRAM)), strict=False)
