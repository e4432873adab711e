"""Diversity: figures of the kept answers that do not depend on their order."""

from hypothesis import given
from hypothesis import strategies as st

from kubedistill.report.words import REJECTED
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.curation import balance
from kubedistill_runtime.curation.diversity import SAMPLE, Diversity, rank
from kubedistill_runtime.curation.filters import FILTERS
from kubedistill_runtime.records import Message, Record

TALK = Task(type="Conversation")
LABELS = Task(type="NLI")


def answers(*texts: str) -> list[AnsweredRecord]:
    return [
        AnsweredRecord(Record(str(place), (Message("user", "?"),)), 0, Answer("", (Turn((), (), text, "stop"),)))
        for place, text in enumerate(texts)
    ]


def watched(some: list[AnsweredRecord], task: Task = TALK) -> Diversity:
    diversity = Diversity(task)
    assert list(diversity.watch(some)) == some
    return diversity


def test_labels_are_counted_in_the_spelling_of_the_manifest() -> None:
    seen = watched(answers("neutral", " NEUTRAL", "entailment"), LABELS)
    assert (seen.labels, seen.distinct_pairs) == ({"neutral": 2, "entailment": 1}, None)


def test_pairs_of_words_are_counted_within_each_answer() -> None:
    assert watched(answers("a b c", "a b d", "e")).distinct_pairs == 3 / 4
    assert watched(answers("A b!", "a, b")).distinct_pairs == 1 / 2
    assert watched(answers("a", "b")).distinct_pairs is None
    assert watched(answers("不能吃", "不能吃")).distinct_pairs == 1 / 2


@given(
    st.lists(st.sampled_from(["a b c", "a b", "c", "b c a b"]), max_size=12).flatmap(
        lambda texts: st.tuples(st.just(answers(*texts)), st.permutations(answers(*texts)))
    )
)
def test_the_order_of_answers_does_not_matter(drawn: tuple[list[AnsweredRecord], list[AnsweredRecord]]) -> None:
    one, other = map(watched, drawn)
    assert one.distinct_pairs == other.distinct_pairs


def test_of_many_answers_an_arbitrary_sample_counts() -> None:
    many = answers(*(f"word{place} end" for place in range(SAMPLE)), *["other words"] * SAMPLE)
    lowest = sorted(many, key=rank)[:SAMPLE]
    assert watched(many).distinct_pairs == watched(lowest).distinct_pairs == watched(many[::-1]).distinct_pairs
    assert sum(one in many[:SAMPLE] for one in lowest) in range(SAMPLE * 2 // 5, SAMPLE * 3 // 5)


def test_each_reason_of_a_filter_has_words() -> None:
    assert {*FILTERS, balance.REASON} <= REJECTED.keys()
