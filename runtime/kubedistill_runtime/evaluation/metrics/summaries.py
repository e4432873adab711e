"""Metrics of summaries: ROUGE (Lin 2004, https://aclanthology.org/W04-1013)."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import category, normalize

from kubedistill_runtime.evaluation.metrics.scripts import separate

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge_1(answer: str | None, references: Sequence[str]) -> float:
    """Return F1 of single words with the best reference."""
    return _rouge("rouge1", answer, references)


def rouge_2(answer: str | None, references: Sequence[str]) -> float:
    """Return F1 of word pairs with the best reference."""
    return _rouge("rouge2", answer, references)


def rouge_l(answer: str | None, references: Sequence[str]) -> float:
    """Return F1 of the longest common subsequence of words with the best reference."""
    return _rouge("rougeL", answer, references)


def _rouge(kind: str, answer: str | None, references: Sequence[str]) -> float:
    if answer is None or not references:
        return 0.0
    return float(_scorer(kind).score_multi(references, answer)[kind].fmeasure)


@cache
def _scorer(kind: str) -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk

    return RougeScorer([kind], tokenizer=_Words())


class _Words:
    """A tokenizer for any script, without case and punctuation; rouge-score's default drops all but ASCII."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a string, or its characters in scripts without spaces between words."""
        folded = normalize("NFC", text).casefold()
        return separate("".join(one if category(one)[0] in "LNM" else " " for one in folded)).split()
