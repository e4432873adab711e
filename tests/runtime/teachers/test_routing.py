"""Which teachers answer a record: by tag, by weight, or all of them."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Match, Routing, Teacher, TeacherModel
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.teachers import routing
from kubedistill_runtime.teachers.routing import route

MODEL = TeacherModel(source="teacher")


def teacher(name: str, *, tag: str | None = None, weight: int = 1) -> Teacher:
    return Teacher(name=name, model=MODEL, match=Match(tag=tag) if tag else None, weight=weight)


def record(prompt: str, *tags: str) -> Record:
    return Record(prompt, (Message("user", prompt),), tags=tags)


LAW, CODE, REST = teacher("law", tag="law"), teacher("code", tag="code"), teacher("rest")
CASES: dict[str, tuple[list[Teacher], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # teachers, tags of the record -> who answers it by Weighted, by BestOf
    "one teacher": ([REST], (), ("rest",), ("rest",)),
    "the tag of one": ([LAW, CODE, REST], ("code",), ("code",), ("code",)),
    "no tag of any": ([LAW, CODE, REST], ("poetry",), ("rest",), ("rest",)),
    "no teacher for others": ([LAW, CODE], ("poetry",), (), ()),
    "no tag at all": ([LAW, CODE], (), (), ()),
    "two without match": ([REST, teacher("more")], (), ("more",), ("rest", "more")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_record_goes_to_those_that_match_it(case: str) -> None:
    teachers, tags, weighted, best_of = CASES[case]
    asked = record("What is due?", *tags)
    assert route(asked, teachers=teachers, routing="Weighted") == weighted
    assert route(asked, teachers=teachers, routing="BestOf") == best_of


def test_of_two_teachers_with_tags_of_a_record_one_answers() -> None:
    both = [route(record(f"{number}", "law", "code"), teachers=[LAW, CODE, REST], routing="Weighted") for number in
            range(200)]  # fmt: skip
    assert set(both) == {("law",), ("code",)}


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_no_hash_has_no_score(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing.hashlib, "sha256", lambda _: SimpleNamespace(digest=lambda: byte * 32))
    assert route(record("?"), teachers=[REST, teacher("more", weight=2)], routing="Weighted") == ("more",)


def count(teachers: list[Teacher], *, of: int) -> Counter[str]:
    routes = (route(record(f"prompt {place}"), teachers=teachers, routing="Weighted") for place in range(of))
    return Counter(name for names in routes for name in names)


def test_shares_are_those_of_the_weights() -> None:
    found = count([teacher("a", weight=1), teacher("b", weight=2), teacher("c", weight=7)], of=20_000)
    assert {name: number / 20_000 for name, number in found.items()} == pytest.approx(
        {"a": 0.1, "b": 0.2, "c": 0.7}, abs=0.012
    ), "5 standard deviations of the largest share are 0.016"


WEIGHTS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 1000), min_size=1, max_size=7)


@given(WEIGHTS, st.integers(1, 1000), st.text(max_size=20))
def test_a_further_teacher_takes_records_only_for_itself(weights: dict[str, int], weight: int, prompt: str) -> None:
    before = [teacher(name, weight=own) for name, own in weights.items()]
    (first,) = route(record(prompt), teachers=before, routing="Weighted")
    (then,) = route(record(prompt), teachers=[*before, teacher("new", weight=weight)], routing="Weighted")
    assert then in (first, "new")


@given(WEIGHTS, st.text(max_size=20), st.randoms())
def test_the_order_of_teachers_does_not_matter(weights: dict[str, int], prompt: str, random: Any) -> None:
    teachers = [teacher(name, weight=own) for name, own in weights.items()]
    first = route(record(prompt), teachers=teachers, routing="Weighted")
    random.shuffle(teachers)
    assert route(record(prompt), teachers=teachers, routing="Weighted") == first


@given(st.sampled_from(["Weighted", "BestOf"]), st.lists(st.sampled_from(["law", "code", "x"]), max_size=3))
def test_nobody_answers_without_being_asked(routing: Routing, tags: list[str]) -> None:
    names = route(record("hello", *tags), teachers=[LAW, CODE, REST], routing=routing)
    assert names
    assert all(name == "rest" or name in tags for name in names)
    assert ("rest" in names) == (not {"law", "code"} & set(tags))
