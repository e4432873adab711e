"""Metrics of free text."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from unicodedata import normalize

import sacrebleu

from kubedistill_runtime.evaluation.metrics.normalization import Words, answer_words
from kubedistill_runtime.evaluation.metrics.scripts import separate

Normalization = Callable[[str], Words]


def exact_match(answer: str | None, references: Sequence[str], *, words: Normalization = answer_words) -> float:
    """Return 1 if the normalized answer equals a normalized reference, otherwise 0."""
    return float(answer is not None and words(answer) in map(words, references))


def token_f1(answer: str | None, references: Sequence[str], *, words: Normalization = answer_words) -> float:
    """Return F1 of normalized words with the best reference (arXiv 1606.05250).

    In scripts without spaces between words, characters are used as words.
    """
    if answer is None:
        return 0.0
    given = _pieces(words(answer))
    return max((_overlap(given, _pieces(words(reference))) for reference in references), default=0.0)


def chrf(answer: str | None, references: Sequence[str]) -> float:
    """Return chrF of one answer (Popović 2015), 0 to 1; texts are composed (NFC) first."""
    if answer is None or not references:
        return 0.0
    texts = [normalize("NFC", reference) for reference in references]
    return min(1.0, float(sacrebleu.sentence_chrf(normalize("NFC", answer), texts).score) / 100)


def bleu(answers: Sequence[str | None], references: Sequence[Sequence[str]]) -> float | None:
    """Return corpus BLEU (Papineni et al. 2002) against all references, 0 to 1; None if no record has one.

    Tokens are sacrebleu's 13a, and single characters of scripts without spaces between words. Orders for which all
    answers are too short are ignored (effective order), so that short texts do not score 0 because of their length.
    """
    rows = [(answer or "", texts) for answer, texts in zip(answers, references, strict=True) if texts]
    if not rows:
        return None
    streams = [list(stream) for stream in zip_longest(*([_separated(text) for text in texts] for _, texts in rows))]
    given = [_separated(answer) for answer, _ in rows]
    # force: no warning about tokenized text, since texts in scripts without spaces are tokenized here.
    score = float(sacrebleu.corpus_bleu(given, streams, use_effective_order=True, force=True).score)
    return min(1.0, score / 100)


def _separated(text: str) -> str:
    return separate(normalize("NFC", text))


def _pieces(words: Words) -> list[str]:
    return [piece for word in words for piece in separate(word).split()]


def _overlap(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted))
