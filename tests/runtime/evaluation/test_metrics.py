"""Metrics: known values, and the same numbers by another way."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from kubedistill_runtime.evaluation.metrics import METRICS, measure, score_of
from kubedistill_runtime.evaluation.metrics.labels import exact, macro_f1, matched
from kubedistill_runtime.evaluation.metrics.normalization import squad_words
from kubedistill_runtime.evaluation.metrics.summaries import rouge_1, rouge_2, rouge_l
from kubedistill_runtime.evaluation.metrics.text import bleu, chrf, exact_match, token_f1


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
        ("the", ["a"], 0, 0),
        (None, [""], 0, 0),
        ("Denver", [], 0, 0),
    ],
)
def test_exact_match_and_token_f1(answer: str | None, references: list[str], match: float, f1: float) -> None:
    assert exact_match(answer, references) == match
    assert token_f1(answer, references) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "reference", "default", "squad"),
    [("314", "3.14", 0, 1), ("the cat", "a cat", 1, 1), ("42.0", "42", 1, 0), ("the", "a", 0, 1)],
)
def test_rule_of_comparison_can_be_chosen(answer: str, reference: str, default: float, squad: float) -> None:
    for name in ("exactMatch", "tokenF1"):
        assert measure(name, [answer], [[reference]]) == default
        assert measure(name, [answer], [[reference]], comparison="SQuAD") == squad


words = st.lists(st.sampled_from(["red", "green", "blue", "the", "a"]), max_size=8).map(" ".join)


@given(words, words)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(answer: str, reference: str) -> None:
    given_words, wanted_words = squad_words(answer), squad_words(reference)
    if not given_words or not wanted_words:
        expected = float(given_words == wanted_words)
    else:
        shared = sum(min(given_words.count(word), wanted_words.count(word)) for word in set(given_words))
        precision, recall = shared / len(given_words), shared / len(wanted_words)
        expected = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert token_f1(answer, [reference], words=squad_words) == pytest.approx(expected)


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


@pytest.mark.parametrize(
    ("answer", "references", "credited"),
    [("b", ["a", "b"], "b"), ("c", ["a", "b"], "a"), (None, ["a", "b"], "a"), ("c", [], None)],
)
def test_the_reference_that_an_answer_matches_is_its_truth(
    answer: str | None, references: list[str], credited: str | None
) -> None:
    assert matched(answer, references) == credited


def test_macro_f1_credits_any_reference() -> None:
    """All right: b is as right as a. One wrong answer then counts against the first reference."""
    references = [["a", "b"], ["b", "a"], ["a"]]
    assert macro_f1(["b", "b", "a"], references) == 1
    assert macro_f1(["c", "b", "a"], references) == pytest.approx((2 / 3 + 1 + 0) / 3)  # labels a, b, c


def test_unparsed_answer_is_never_right() -> None:
    assert exact(None, ["a"]) == 0
    assert macro_f1([None, None], [["a"], ["b"]]) == 0
    scores = [score_of(name) for name, metric in METRICS.items() if metric.row]
    assert [score(None, [text]) for score in scores for text in ("some reference", "")] == [0] * 2 * len(scores)


@pytest.mark.parametrize("name", METRICS)
def test_without_rows_or_references_nothing_is_made_up(name: str) -> None:
    assert measure(name, [], []) is None
    assert measure(name, ["word"], [[]]) in (0, None)
    assert measure(name, [None], [[]]) in (0, None)


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


IDENTICAL = {
    "Chinese": ["今天天气很好，我们去公园。", "谢谢。"],
    "Japanese": ["東京タワーは高いです。", "はい"],
    "Thai": ["สวัสดีครับ", "ขอบคุณ"],
    "Khmer": ["សួស្តី"],
    "Arabic": ["القاهرة عاصمة مصر."],
    "short": ["yes it is", "thank you"],
    "one word": ["yes"],
    "one sign": ["?"],
    "mixed": ["iPhone 15 的价格是 5,999 元。"],
}


@pytest.mark.parametrize("kind", IDENTICAL)
@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_identical_texts_of_any_script_and_length_are_worth_1(name: str, kind: str) -> None:
    texts = IDENTICAL[kind]
    composed = [unicodedata.normalize("NFD", text) for text in texts]
    assert measure(name, composed, [[text] for text in texts]) == 1.0


def test_bleu_of_chinese_is_sacrebleus() -> None:
    answers, wanted = ["今天天气很好，我们去公园。", "谢谢你。"], ["今天天气不好，我们去公园。", "谢谢。"]
    expected = sacrebleu.corpus_bleu(answers, [wanted], tokenize="zh").score / 100
    assert bleu(answers, [[text] for text in wanted]) == pytest.approx(expected)
    assert expected > 0.5


def test_bleu_of_short_texts_leaves_out_the_orders_that_no_answer_has() -> None:
    """Three words, two of which are right: precisions 2/3, 1/2 and 0 of 1, which is smoothed to 1/2."""
    assert bleu(["yes it was"], [["yes it is"]]) == pytest.approx((2 / 3 * 1 / 2 * 1 / 2) ** (1 / 3))


def test_bleu_uses_every_reference_of_every_record() -> None:
    references = [["it ships on tuesday then", "it ships on monday next"], ["no refund is due here"]]
    assert bleu(["it ships on monday next", "no refund is due here"], references) == 1.0
    assert bleu(["it ships on tuesday then", None], references) == pytest.approx(math.exp(1 - 10 / 5))


def test_bleu_without_any_reference_is_not_known() -> None:
    assert bleu(["some words"], [[]]) is None
    assert bleu(["some words", "others here"], [[], ["others here"]]) == 1.0


@pytest.mark.parametrize(("answer", "reference"), list(zip(ANSWERS, REFERENCES, strict=True)))
def test_chrf_is_the_formula(answer: str, reference: str) -> None:
    """F2 of the mean precision and the mean recall of 1 to 6 characters, white space left out."""
    given_text, wanted_text = answer.replace(" ", ""), reference.replace(" ", "")
    pairs = [(ngrams(given_text, size), ngrams(wanted_text, size)) for size in range(1, 7)]
    precision = sum((a & r).total() / a.total() for a, r in pairs) / 6
    recall = sum((a & r).total() / r.total() for a, r in pairs) / 6
    assert chrf(answer, [reference]) == pytest.approx(5 * precision * recall / (4 * precision + recall))


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_metric_is_between_0_and_1(answer: str, reference: str) -> None:
    for name in METRICS:
        assert 0 <= measure(name, [answer], [[reference]]) <= 1 + 1e-9


@pytest.mark.parametrize("name", METRICS)
def test_reference_itself_is_worth_1_and_other_words_0(name: str) -> None:
    texts = ["a fine long sentence of words", "one more that is different"]
    assert measure(name, texts, [[text] for text in texts]) == pytest.approx(1)
    assert measure(name, ["zzzz", "qqqq"], [[text] for text in texts]) == pytest.approx(0)


@pytest.mark.parametrize("name", ["accuracy", "exactMatch", "tokenF1", "chrf"])
def test_metric_of_rows_is_their_mean_with_the_best_reference_of_each(name: str) -> None:
    answers, references = ["left", "right", None, "down"], [["up", "left"], ["right"], ["left"], ["up"]]
    single = [score_of(name)(*row) for row in zip(answers, references, strict=True)]
    assert single[:3] == pytest.approx([1, 1, 0])
    assert measure(name, answers, references) == pytest.approx(sum(single) / 4)


@pytest.mark.parametrize(
    ("answer", "reference", "one", "two", "longest"),
    [
        ("the cat sat", "the cat sat", 1, 1, 1),
        ("The CAT sat!", "the cat sat.", 1, 1, 1),
        ("the small cat", "the cat", 4 / 5, 0, 4 / 5),
        ("cat the", "the cat", 1, 0, 1 / 2),
        ("dog", "the cat", 0, 0, 0),
        ("", "the cat", 0, 0, 0),
        ("今天天气很好", "今天天气不好", 5 / 6, 3 / 5, 5 / 6),
        ("кошка сидит", "Кошка сидит", 1, 1, 1),
        ("हिन्दी में", "हिन्दी में", 1, 1, 1),
    ],
)
def test_rouge(answer: str, reference: str, one: float, two: float, longest: float) -> None:
    """F1 of words, of pairs, and of the longest common subsequence; rouge-score's own words are ASCII alone."""
    found = [rouge(answer, [reference]) for rouge in (rouge_1, rouge_2, rouge_l)]
    assert found == pytest.approx([one, two, longest])
    assert [rouge(answer, ["nothing else", reference]) for rouge in (rouge_1, rouge_2, rouge_l)] == found
    assert [rouge(None, [reference]) for rouge in (rouge_1, rouge_2, rouge_l)] == [0, 0, 0]


@given(words, words)
def test_rouge_of_ascii_is_rouge_scores_own(answer: str, reference: str) -> None:
    own = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, answer)
    for kind, rouge in {"rouge1": rouge_1, "rouge2": rouge_2, "rougeL": rouge_l}.items():
        assert rouge(answer, [reference]) == pytest.approx(own[kind].fmeasure)
