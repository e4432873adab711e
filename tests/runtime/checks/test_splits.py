"""Splits: hold-outs, lengths, sizes and records that are there twice."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill_runtime.checks.splits import check_sizes, drop_duplicates, drop_long, hold_out, sample
from kubedistill_runtime.records import Message, Record, Split
from support.messages import CheckMessage


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


def expansions(conversations: int, *, turns: int, greeting: str = "") -> list[Record]:
    """For each conversation, records that hold one more of its user turns each."""
    system = Message("system", "Be brief.")
    records = []
    for number in range(conversations):
        said = [*([greeting] if greeting else []), *(f"{number} says {turn}" for turn in range(turns))]
        messages = [Message("user", text) for text in said]
        records += [
            Record(f"{number}/{size}", (system, *messages[: len(said) - turns + size])) for size in range(1, turns + 1)
        ]
    return records


GROUPS: dict[str, tuple[list[Record], int, int]] = {
    # Records, how many are held out, and in how many groups.
    "5 records of each conversation": (expansions(60, turns=5), 30, 6),
    "groups that do not fit the number": (expansions(18, turns=5), 10, 2),
    "prompts that stand 10 times": ([Record(f"{n}", (Message("user", f"{n % 20}"),)) for n in range(200)], 20, 2),
    "a greeting before each conversation": (expansions(60, turns=5, greeting="Hello"), 30, 6),
    "one prompt alone": ([Record(f"{n}", (Message("user", "a"),)) for n in range(50)], 0, 0),
    "other system messages": (
        [Record(f"{n}", (Message("system", f"{n}"), Message("user", "Sum it up."))) for n in range(100)], 10, 10,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GROUPS)
def test_records_that_begin_alike_are_held_out_together(case: str) -> None:
    records, count, groups = GROUPS[case]
    rest, out = hold_out(records, seed=0, salt="test")
    assert len(out) == count
    apart = 3 if "greeting" in case else 2
    beginnings = {record.messages[:apart] for record in out}
    assert len(beginnings) == groups
    assert beginnings.isdisjoint(record.messages[:apart] for record in rest)


@given(st.permutations(expansions(12, turns=5)), st.integers(0, 3))
def test_order_and_ids_change_no_hold_out(records: list[Record], seed: int) -> None:
    _, expected = hold_out(expansions(12, turns=5), seed=seed, salt="test")
    _, out = hold_out(records, seed=seed, salt="test")
    assert set(out) == set(expected)
    _, named = hold_out([replace(record, id=f"x{record.id}") for record in records], seed=seed, salt="test")
    assert {record.messages for record in named} == {record.messages for record in expected}


def held_out_without_tags(records: list[Record], *, seed: int, salt: str) -> set[str]:
    """Return the ids that are held out of records without tags: groups in the order of a hash, up to the number."""
    count = min(len(records) // 10, 1000)
    groups = {json.dumps([("user", one)]): [r for r in records if r.messages[0].content == one] for one in
              {record.messages[0].content for record in records}}  # fmt: skip
    chosen: set[str] = set()
    for key in sorted(groups, key=lambda key: hashlib.sha256(f"{seed}/{salt}/{key}".encode()).digest()):
        if len(groups[key]) <= 2 * (count - len(chosen)):
            chosen |= {record.id for record in groups[key]}
    return chosen


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=60), st.integers(0, 3))
def test_records_without_tags_are_held_out_as_ever(contents: list[str], seed: int) -> None:
    records = [Record(f"r{number}", (Message("user", text),)) for number, text in enumerate(contents)]
    _, out = hold_out(records, seed=seed, salt="test")
    assert {record.id for record in out} == held_out_without_tags(records, seed=seed, salt="test")


def tagged(tags: Sequence[tuple[str, ...]]) -> list[Record]:
    return [replace(record, tags=own) for record, own in zip(prompts(len(tags)), tags, strict=True)]


@given(st.lists(st.sampled_from([(), ("a",), ("b",), ("c",), ("d",)]), max_size=200), st.integers(0, 9))
def test_each_tag_keeps_its_share(tags: list[tuple[str, ...]], seed: int) -> None:
    count = len(tags) // 10
    _, out = hold_out(tagged(tags), seed=seed, salt="test")
    assert len(out) == count
    for tag, number in Counter(tags).items():
        assert abs(sum(record.tags == tag for record in out) - number * count / len(tags)) < 1


def test_each_of_several_tags_of_a_record_keeps_its_share() -> None:
    tags = [(f"language-{n % 3}", f"product-{n * n % 7}") for n in range(2000)]
    _, out = hold_out(tagged(tags), seed=0, salt="test")
    assert len(out) == 200
    for tag, number in Counter(tag for own in tags for tag in own).items():
        assert abs(sum(tag in record.tags for record in out) - number / 10) <= 4, tag


def test_a_tag_of_each_record_changes_the_number_by_none() -> None:
    records = tagged([(f"user-{n}",) for n in range(300)])
    chosen = [{record.id for record in hold_out(records, seed=seed, salt="test")[1]} for seed in range(30)]
    assert {len(out) for out in chosen} == {30}
    assert len(set.union(*chosen)) > 100, "the seed chooses"


def test_a_large_group_of_one_tag_is_made_up_for_by_the_next() -> None:
    """Tag `a` has 8 prompts that stand 5 times, so none of them fits its share of 4 exactly."""
    alike = [Record(f"a{n}", (Message("user", f"{n % 8}"),), tags=("a",)) for n in range(40)]
    others = [replace(record, id=f"b{record.id}", tags=("b",)) for record in prompts(1060)[1000:]]
    for seed in range(10):
        _, out = hold_out([*alike, *others], seed=seed, salt="test")
        assert len(out) == 10
        assert sum(record.tags == ("a",) for record in out) in (0, 5)


@given(st.permutations(tagged([(tag,) for tag in "aaaaaaaaaaabbbbbbbcccdddddddddddddd"])))
def test_the_order_of_tagged_records_changes_no_hold_out(records: list[Record]) -> None:
    expected = hold_out(sorted(records, key=lambda one: one.id), seed=0, salt="test")[1]
    assert set(hold_out(records, seed=0, salt="test")[1]) == set(expected)


@given(st.integers(0, 60), st.none() | st.integers(1, 70), st.randoms())
def test_a_sample_depends_on_ids_and_not_on_order_and_a_greater_one_holds_it(
    count: int, limit: int | None, random: Random
) -> None:
    records = prompts(count)
    chosen = sample(records, limit=limit)
    assert len(chosen) == (count if limit is None else min(count, limit))
    assert chosen == [record for record in records if record in set(chosen)]
    assert set(chosen) <= set(sample(records, limit=None if limit is None else limit + 1))
    random.shuffle(records)
    assert set(sample(records, limit=limit)) == set(chosen)


def test_a_sample_is_not_the_beginning_of_the_file() -> None:
    places = [int(record.id[1:]) for record in sample(prompts(1000), limit=100)]
    assert 400 < sum(places) / 100 < 600


def test_long_prompts_are_dropped_and_counted() -> None:
    kept, dropped = drop_long(prompts(20), fits=lambda record: int(record.id[1:]) < 15)
    assert (len(kept), dropped) == (15, 5)


def test_too_few_records_name_split_and_reason(check_message: CheckMessage) -> None:
    splits = {"train": prompts(3), "validation": prompts(9), "test": prompts(9)}
    places = {"train": "spec.data.train", "validation": "", "test": ""}
    dropped: dict[str, dict[Split, int]] = {"TooLong": {"train": 4, "test": 1}, "Leaked": {"train": 2}, "Other": {}}
    with pytest.raises(InvalidData) as refused:
        check_sizes(splits, dropped=dropped, places=places)  # type: ignore[arg-type]
    assert refused.value.at == "spec.data.train"
    check_message(refused.value, 3, 4, "TooLong", 2, "Leaked")


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
