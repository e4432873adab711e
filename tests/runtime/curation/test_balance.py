"""Balance: no label or length has a larger share than asked for, and no more answers go than necessary."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidManifest, LowYield
from kubedistill.v1alpha1 import Curation, Spec, Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.checks.balance import check_max_share
from kubedistill_runtime.curation.balance import find_cap, find_excess, group_of
from kubedistill_runtime.records import Message, Record
from support.job_folder import SPEC

LABELS = Task(type="Classification", labels=("a", "b", "c"))
TALK = Task(type="Conversation")


def spec_of(share: float | None, task: Task = LABELS) -> Spec:
    spec = Spec.model_validate(SPEC, by_alias=True, by_name=False, strict=False)
    return spec.model_copy(update={"task": task, "curation": Curation(max_share=share)})


def answers(*texts: str) -> list[AnsweredRecord]:
    return [
        AnsweredRecord(Record(str(place), (Message("user", "?"),)), 0, Answer("", (Turn((), (), text, "stop"),)))
        for place, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("counts", "share", "cap"),
    [
        ([10, 10], 0.5, 10),
        ([90, 10], 0.5, 10),
        ([90, 10], 0.6, 15),
        ([50, 30, 20], 0.4, 33),
        ([50, 30, 20], 0.5, 50),
        ([100], 0.5, 0),
        ([5, 5, 5], 0.3, 0),
        ([], 0.5, 0),
    ],
)
def test_the_cap_is_the_largest_one(counts: list[int], share: float, cap: int) -> None:
    assert find_cap(counts, share) == cap


@given(st.lists(st.integers(1, 60), max_size=6), st.floats(0.01, 0.99))
def test_the_cap_is_that_of_trying_all(counts: list[int], share: float) -> None:
    fitting = [
        cap for cap in range(max(counts, default=0) + 1) if cap <= share * sum(min(count, cap) for count in counts)
    ]
    assert find_cap(counts, share) == max(fitting)


TEXTS = st.lists(st.sampled_from("aaabbc"), min_size=1, max_size=60).filter(lambda texts: set(texts) == set("abc"))


@given(TEXTS, st.sampled_from([0.4, 0.5, 0.8]), st.randoms(use_true_random=False))
def test_no_label_has_a_larger_share_and_the_order_does_not_matter(
    texts: list[str], share: float, random: Random
) -> None:
    some = answers(*texts)
    excess = find_excess(some, spec_of(share))
    kept = Counter(one.answer.turns[0].text for one in some if (one.record.id, one.sample) not in excess)
    assert max(kept.values()) <= share * kept.total()
    assert all(number == kept[text] or kept[text] == max(kept.values()) for text, number in Counter(texts).items())
    shuffled = some[:]
    random.shuffle(shuffled)
    assert find_excess(shuffled, spec_of(share)) == excess


def test_without_a_maximum_nothing_is_read() -> None:
    assert find_excess(iter(()), spec_of(None)) == frozenset()


def test_free_text_is_grouped_by_its_length() -> None:
    groups = [group_of(one, TALK) for one in answers("one", "one two", "one two three", "w " * 8, "w " * 15, "我" * 20)]
    assert groups == ["1", "2", "2", "4", "4", "4"]
    some = answers(*["short"] * 30, *["a somewhat longer answer"] * 10)
    assert len(find_excess(some, spec_of(0.5, TALK))) == 20


def test_too_few_groups_are_said() -> None:
    with pytest.raises(LowYield) as low:
        find_excess(answers("a", "a"), spec_of(0.5))
    assert low.value.at == "spec.curation.maxShare"
    assert find_excess([], spec_of(0.5)) == frozenset(), "then LowYield says that no answer was kept"


@pytest.mark.parametrize(
    ("share", "task", "refused"),
    [(0.33, LABELS, True), (0.34, LABELS, False), (None, LABELS, False), (0.1, TALK, False)],
)
def test_a_share_that_labels_cannot_have_is_refused(share: float | None, task: Task, refused: bool) -> None:
    if not refused:
        check_max_share(spec_of(share, task))
        return
    with pytest.raises(InvalidManifest) as caught:
        check_max_share(spec_of(share, task))
    assert caught.value.at == "spec.curation.maxShare"
