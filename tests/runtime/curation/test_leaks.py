"""Leaks: what training prompts may share with test prompts, and the quickstart's own data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.curation.leaks import NGRAM, LeakIndex
from kubedistill_runtime.records import Message, Record, Split
from kubedistill_runtime.tasks import TASKS
from workshop import QUICKSTART

LONG = " ".join(f"word{number}" for number in range(20))


def asks(*texts: str, system: str | None = None) -> Record:
    first = (Message("system", system),) if system else ()
    return Record("r", (*first, *(Message("user", text) for text in texts)))


@pytest.mark.parametrize(
    ("train", "test", "leaks"),
    [
        (asks(LONG), asks(LONG), True),
        (asks(f"Well, {LONG.upper()}!"), asks(LONG.replace(" ", ", ")), True),
        (asks(" ".join(LONG.split()[:NGRAM])), asks(LONG), True),
        (asks(" ".join(LONG.split()[: NGRAM - 1])), asks(LONG), False),
        (asks("Yes"), asks("yes."), True),
        (asks("Yes"), asks("Yes, please"), False),
        (asks("Thanks", "Where is it?"), asks("Thanks", "I want my money back"), False),
        (asks("Thanks", "Where is it?"), asks("Thanks", "Where is it?"), True),
        (asks("one", system=LONG), asks("two", system=LONG), False),
        (asks("???"), asks("!!!"), False),
        (asks("???"), asks("???"), True),
        (asks("übergröße"), asks("ÜBERGRÖSSE"), True),
    ],
    ids=[
        "the same text", "in other letters and signs", "13 words of it", "12 words of it", "a short text", "its start",
        "a greeting in common", "a whole talk", "a system message in common", "no words at all", "the same signs",
        "letters that fold",
    ],
)  # fmt: skip
def test_a_prompt_leaks_if_it_says_what_a_test_prompt_says(train: Record, test: Record, *, leaks: bool) -> None:
    assert LeakIndex.build([test]).overlaps(train) == leaks


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=30)


@given(WORDS, WORDS)
def test_leaking_is_mutual_and_a_prompt_always_leaks_into_itself(first: list[str], second: list[str]) -> None:
    one, other = asks(" ".join(first)), asks(" ".join(second))
    assert LeakIndex.build([one]).overlaps(one)
    assert LeakIndex.build([one]).overlaps(other) == LeakIndex.build([other]).overlaps(one)


def quickstart(split: Split) -> list[Record]:
    path = QUICKSTART / "data" / f"{split}.jsonl"
    task = Task(type="QA")
    return read_records(path, split=split, task=TASKS[task.type], labels=(), system_prompt=None)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_quickstart_leaks_nothing_into_its_test(split: Split) -> None:
    index, records = LeakIndex.build(quickstart("test")), quickstart(split)
    assert len(records) > 100
    assert [record.id for record in records if index.overlaps(record)] == []
