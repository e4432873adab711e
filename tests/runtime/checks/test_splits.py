"""Splits: hold-outs, lengths, sizes and records that are there twice."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill_runtime.checks.splits import check_sizes, drop_duplicates, drop_long, hold_out
from kubedistill_runtime.records import Message, Record, Split


def prompts(count: int) -> list[Record]:
    return [Record(f"r{number}", (Message("user", str(number)),)) for number in range(count)]


@pytest.mark.parametrize(("count", "held"), [(9, 0), (100, 10), (20_000, 1000)])
def test_hold_out_takes_a_tenth_and_at_most_a_thousand(count: int, held: int) -> None:
    rest, out = hold_out(prompts(count), seed=0, salt="test")
    assert (len(rest), len(out)) == (count - held, held)
    assert not {record.id for record in rest} & {record.id for record in out}


def test_hold_out_depends_on_seed_and_ids_but_not_on_order() -> None:
    _, first = hold_out(prompts(100), seed=0, salt="test")
    _, again = hold_out(prompts(100)[::-1], seed=0, salt="test")
    _, other = hold_out(prompts(100), seed=1, salt="test")
    assert set(first) == set(again) != set(other)


def test_long_prompts_are_dropped_and_counted() -> None:
    kept, dropped = drop_long(prompts(20), count_tokens=lambda record: int(record.id[1:]), limit=15)
    assert (len(kept), dropped) == (15, 5)


def test_too_few_records_name_split_and_reason() -> None:
    splits = {"train": prompts(3), "validation": prompts(9), "test": prompts(9)}
    places = {"train": "spec.data.train", "validation": "", "test": ""}
    dropped: dict[str, dict[Split, int]] = {"TooLong": {"train": 4, "test": 1}, "Leaked": {"train": 2}, "Other": {}}
    with pytest.raises(InvalidData) as refused:
        check_sizes(splits, dropped=dropped, places=places)  # type: ignore[arg-type]
    assert refused.value.at == "spec.data.train"
    assert "3 train records are left" in refused.value.problem
    assert "4 were dropped as TooLong, 2 were dropped as Leaked" in refused.value.problem


def asked(prompt: str, *references: str, record_id: str = "r") -> Record:
    return Record(record_id, (Message("system", "s"), Message("user", prompt)), references)


DUPLICATES: dict[str, tuple[list[Record], list[tuple[str, ...]], list[tuple[str, ...]]]] = {
    # Records, then the references that are left for free text and for labels.
    "distinct prompts": ([asked("a", "x"), asked("b", "x")], [("x",), ("x",)], [("x",), ("x",)]),
    "equal records": ([asked("a", "x"), asked("a", "x")], [("x",)], [("x",)]),
    "three of one": ([asked("a", "x")] * 3, [("x",)], [("x",)]),
    "contradicting references": ([asked("a", "x"), asked("a", "y"), asked("b", "z")], [("x", "y"), ("z",)], [("z",)]),
    "references that overlap": ([asked("a", "x", "y"), asked("a", "y", "z")], [("x", "y", "z")], [("y",)]),
    "overlaps without a common one": (
        [asked("a", "x", "y"), asked("a", "y", "z"), asked("a", "z", "x")], [("x", "y", "z")], [],
    ),
    "one without a reference": ([asked("a"), asked("a", "x")], [("x",)], [("x",)]),
    "none with a reference": ([asked("a"), asked("a")], [()], [()]),
    "another role": (
        [Record("r", (Message("user", "a"),)), Record("q", (Message("system", "a"),))], [(), ()], [(), ()],
    ),
    "another case": ([asked("a", "x"), asked("A", "y")], [("x",), ("y",)], [("x",), ("y",)]),
}  # fmt: skip


@pytest.mark.parametrize("case", DUPLICATES)
def test_a_prompt_that_stands_twice_counts_once(case: str) -> None:
    records, free, labelled = DUPLICATES[case]
    for labels, expected in (((), free), (("x", "y", "z"), labelled)):
        distinct, dropped = drop_duplicates(records, labels=labels)
        assert [record.references for record in distinct] == expected
        assert sum(dropped.values()) == len(records) - len(distinct)
        assert (dropped["Conflicting"] > 0) == (bool(labels) and len(labelled) < len(free))


def test_the_first_of_equal_prompts_gives_id_and_place() -> None:
    records = [asked("a", "x", record_id="1"), asked("b", "x", record_id="2"), asked("a", "x", record_id="3")]
    distinct, dropped = drop_duplicates(records, labels=("x", "y"))
    assert [record.id for record in distinct] == ["1", "2"]
    assert dropped == {"Duplicate": 1, "Conflicting": 0}


RECORDS = st.lists(st.builds(asked, st.sampled_from("ab"), st.sampled_from("xyz")), max_size=4)


@given(RECORDS, st.sampled_from([(), ("x", "y", "z")]))
def test_order_changes_no_prompt_and_no_count(records: list[Record], labels: tuple[str, ...]) -> None:
    ways = {
        (frozenset((record.messages, frozenset(record.references)) for record in distinct), tuple(dropped.values()))
        for order in permutations(records)
        for distinct, dropped in [drop_duplicates(order, labels=labels)]
    }
    assert len(ways) == 1
    distinct, _ = drop_duplicates(records, labels=labels)
    assert drop_duplicates(distinct, labels=labels) == (distinct, {"Duplicate": 0, "Conflicting": 0})


def test_what_is_learned_of_a_prompt_does_not_make_it_another() -> None:
    first, second = (
        Record(name, (Message("user", "a"), Message("assistant", "b", target=target), Message("user", "c")))
        for name, target in (("first", True), ("second", False))
    )
    assert drop_duplicates([first, second], labels=()) == ([first], {"Duplicate": 1, "Conflicting": 0})
