"""Diversity of the kept answers: how often each label occurs, or how many pairs of words in a sample are different."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappush, heappushpop
from itertools import pairwise

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.curation.words import split_tokens
from kubedistill_runtime.tasks.reasoning import read_answer

SAMPLE = 1000


def rank(answered: AnsweredRecord) -> int:
    """Return a number of 64 bits by which answers have an arbitrary order that does not depend on other answers."""
    identity = f"{answered.record.id}\n{answered.sample}".encode()
    return int.from_bytes(blake2b(identity, digest_size=8).digest())


def label_of(answered: AnsweredRecord, task: TaskSpec) -> str | None:
    """Return the label that an answer is, in the spelling of the manifest; None if it is none."""
    return read_answer(answered.answer.turns[-1].text, task)


@dataclass(slots=True)
class Diversity:
    """Looks at kept answers as they pass; with a sample of SAMPLE texts in memory."""

    task: TaskSpec
    labels: Counter[str] = field(default_factory=Counter)
    """Number of kept answers by label; empty for tasks with free text."""
    _sample: list[tuple[int, str]] = field(default_factory=list)
    """A heap of the texts with the lowest ranks: (minus the rank, text)."""

    def watch(self, kept: Iterable[AnsweredRecord]) -> Iterator[AnsweredRecord]:
        """Yield answers unchanged."""
        for answered in kept:
            if self.task.answer_labels:
                self.labels[label_of(answered, self.task) or ""] += 1
            else:
                text = "\n".join(turn.text for turn in answered.answer.turns)
                push = heappush if len(self._sample) < SAMPLE else heappushpop
                push(self._sample, (-rank(answered), text))
            yield answered

    @property
    def distinct_pairs(self) -> float | None:
        """The share of different pairs among all pairs of adjacent words in the sample, 0 to 1 (distinct-2, Li et al.
        2016, arXiv 1510.03055); None without pairs. The size of the sample is fixed, because the share falls with it.
        """
        pairs = Counter(pair for _, text in self._sample for pair in pairwise(split_tokens(text)))
        return len(pairs) / pairs.total() if pairs else None
