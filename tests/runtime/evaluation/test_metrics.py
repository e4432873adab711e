"""Metrics: known values, and the same numbers by another way."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.evaluation.metrics import CORPUS, METRICS, SCORES, measure
from kubedistill_runtime.evaluation.metrics.labels import exact, macro_f1
from kubedistill_runtime.evaluation.metrics.text import bleu, chrf, exact_match, normalise, token_f1


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Denver Broncos", "denver broncos"),
        ("  A  quick,\tbrown\nfox! ", "quick brown fox"),
        ("the an a", ""),
        ("U.S. Army", "us army"),
        ("It's an anaconda", "its anaconda"),  # an article inside a word is none
        ("10,000", "10000"),
        ("Théâtre", "théâtre"),
    ],
)
def test_normalisation_is_squads(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("answer", "references", "match", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1, 1),
        ("the Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Denver", ["Denver Broncos"], 0, 2 / 3),
        ("Denver Denver", ["Denver Broncos"], 0, 1 / 2),
        ("Denver", ["Carolina Panthers", "Denver Broncos", "Denver"], 1, 1),
        ("Santa Clara", ["Denver Broncos"], 0, 0),
        (None, ["Denver Broncos"], 0, 0),
        ("the", ["Denver Broncos"], 0, 0),
        ("", ["a"], 1, 1),
    ],
)
def test_exact_match_and_token_f1(answer: str | None, references: list[str], match: float, f1: float) -> None:
    assert exact_match(answer, references) == match
    assert token_f1(answer, references) == pytest.approx(f1)


words = st.lists(st.sampled_from(["red", "green", "blue", "the", "a"]), max_size=8).map(" ".join)


@given(words, words)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(answer: str, reference: str) -> None:
    given_words, wanted_words = normalise(answer).split(), normalise(reference).split()
    if not given_words or not wanted_words:
        expected = float(given_words == wanted_words)
    else:
        shared = sum(min(given_words.count(word), wanted_words.count(word)) for word in set(given_words))
        precision, recall = shared / len(given_words), shared / len(wanted_words)
        expected = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert token_f1(answer, [reference]) == pytest.approx(expected)


labels = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(st.one_of(st.none(), labels), labels), min_size=1, max_size=40))
def test_macro_f1_equals_the_confusion_matrixs(rows: list[tuple[str | None, str]]) -> None:
    found = Counter(rows)
    seen = sorted({label for row in rows for label in row if label is not None})
    scores = []
    for label in seen:
        hit = found[label, label]
        precision_base = sum(found[label, truth] for truth in seen)
        recall_base = sum(found[answer, label] for answer in [*seen, None])
        precision = hit / precision_base if precision_base else 0.0
        recall = hit / recall_base if recall_base else 0.0
        scores.append(2 * precision * recall / (precision + recall) if hit else 0.0)
    expected = sum(scores) / len(scores)
    assert macro_f1([answer for answer, _ in rows], [[truth] for _, truth in rows]) == pytest.approx(expected)


def test_unparsed_answer_is_never_right() -> None:
    assert exact(None, ["a"]) == 0
    assert macro_f1([None, None], [["a"], ["b"]]) == 0
    assert [score(None, ["some reference"]) for score in SCORES.values()] == [0, 0, 0, 0]


def ngrams(items: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(items[start : start + size]) for start in range(len(items) - size + 1))


ANSWERS = ["the small cat sat on the red mat today", "we will send the parcel again on monday morning"]
REFERENCES = ["the small cat sat on the blue mat today", "we will send your parcel again on monday"]


def test_bleu_is_the_formula() -> None:
    """exp(min(0, 1 - r / c)) times the geometric mean of the clipped precisions of 1 to 4 words."""
    precisions = []
    for size in (1, 2, 3, 4):
        pairs = [(ngrams(a.split(), size), ngrams(r.split(), size)) for a, r in zip(ANSWERS, REFERENCES, strict=True)]
        precisions.append(sum((a & r).total() for a, r in pairs) / sum(a.total() for a, _ in pairs))
    given_length, wanted_length = (sum(len(text.split()) for text in texts) for texts in (ANSWERS, REFERENCES))
    brevity = min(1.0, math.exp(1 - wanted_length / given_length))
    expected = brevity * math.exp(sum(math.log(precision) for precision in precisions) / 4)
    assert bleu(ANSWERS, [[reference] for reference in REFERENCES]) == pytest.approx(expected)


@pytest.mark.parametrize(("answer", "reference"), list(zip(ANSWERS, REFERENCES, strict=True)))
def test_chrf_is_the_formula(answer: str, reference: str) -> None:
    """F2 of the mean precision and the mean recall of 1 to 6 characters, white space left out."""
    given_text, wanted_text = answer.replace(" ", ""), reference.replace(" ", "")
    pairs = [(ngrams(given_text, size), ngrams(wanted_text, size)) for size in range(1, 7)]
    precision = sum((a & r).total() / a.total() for a, r in pairs) / 6
    recall = sum((a & r).total() / r.total() for a, r in pairs) / 6
    assert chrf(answer, [reference]) == pytest.approx(5 * precision * recall / (4 * precision + recall))


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_metric_lies_between_0_and_1(answer: str, reference: str) -> None:
    for name in METRICS:
        assert 0 <= measure(name, [answer], [[reference]]) <= 1 + 1e-9


@pytest.mark.parametrize("name", METRICS)
def test_reference_itself_is_worth_1_and_other_words_0(name: str) -> None:
    texts = ["a fine long sentence of words", "one more that is different"]
    assert measure(name, texts, [[text] for text in texts]) == pytest.approx(1)
    assert measure(name, ["zzzz", "qqqq"], [[text] for text in texts]) == pytest.approx(0)


@pytest.mark.parametrize("name", ["accuracy", "exactMatch", "tokenF1", "chrf"])
def test_metric_of_rows_is_their_mean_with_the_best_reference_of_each(name: str) -> None:
    assert name not in CORPUS
    answers, references = ["left", "right", None, "down"], [["up", "left"], ["right"], ["left"], ["up"]]
    single = [SCORES[name](*row) for row in zip(answers, references, strict=True)]
    assert single[:3] == pytest.approx([1, 1, 0])
    assert measure(name, answers, references) == pytest.approx(sum(single) / 4)
