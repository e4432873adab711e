"""Metrics of free text."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import sacrebleu

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and spare space: SQuAD's rule (arXiv 1606.05250)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str | None, references: Sequence[str]) -> float:
    """1 where the normalised answer is a normalised reference."""
    return float(answer is not None and normalise(answer) in {normalise(reference) for reference in references})


def token_f1(answer: str | None, references: Sequence[str]) -> float:
    """F1 of normalised words with the nearest reference (arXiv 1606.05250)."""
    return max((_overlap(answer or "", reference) for reference in references), default=0.0)


def chrf(answer: str | None, references: Sequence[str]) -> float:
    """chrF of one answer (Popović 2015), 0 to 1."""
    return float(sacrebleu.sentence_chrf(answer or "", list(references)).score) / 100


def bleu(answers: Sequence[str | None], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU (Papineni et al. 2002) against the first references, 0 to 1."""
    first = [reference[0] for reference in references]
    return float(sacrebleu.corpus_bleu([answer or "" for answer in answers], [first]).score) / 100


def _overlap(answer: str, reference: str) -> float:
    given, wanted = normalise(answer).split(), normalise(reference).split()
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted))
