"""Near-duplicates: prompts that share nearly all their words, and prompts that only share a template."""

import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.curation.near_duplicates import MANY_PROMPTS, find_near_duplicates
from kubedistill_runtime.records import Message, Record

LONG = " ".join(f"word{'abcdefgh'[place % 8]}{'ijklmnopqr'[place // 8]}" for place in range(80))
CHINESE = (
    "请先关闭机器并等待一个小时。然后向左转动盖子,把它取下来。取出旧的滤芯,用冷水冲洗底座。最后放入新的滤芯并盖好盖子。"
)


def record(place: int, *users: str, system: str = "") -> Record:
    messages = (*([Message("system", system)] if system else []), *(Message("user", text) for text in users))
    return Record(f"r{place}", messages)


def found(*texts: str) -> set[tuple[int, int]]:
    """Return the places of near-duplicates among some prompts."""
    near = find_near_duplicates([record(place, text) for place, text in enumerate(texts)])
    pairs = combinations(range(len(texts)), 2)
    return {(one, other) for one, other in pairs if f"r{other}" in near.get(f"r{one}", ())}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my parcel?", "where is my PARCEL"),
        ("Hi", "hi!"),
        (LONG, f"{LONG} please"),
        (LONG, f"Please: {LONG}"),
        (LONG, LONG.replace("wordai wordbi", "wordai wordxx wordbi")),
        (f"{CHINESE}{CHINESE[::-1]}", f"{CHINESE}{CHINESE[::-1]}谢谢"),
        ("لا أعرف ماذا أفعل", "لا أعرف ماذا أفعل؟"),
        ("???", "???"),
    ],
)
def test_a_prompt_with_nearly_the_same_words_is_a_near_duplicate(one: str, other: str) -> None:
    assert found(one, other) == {(0, 1)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my parcel?", "Where is my invoice?"),
        ("Does A imply B?", "Does B imply A?"),
        (f"{LONG} 17", f"{LONG} 18"),
        (f"{LONG} 2+2", f"{LONG} 2-2"),
        (LONG, " ".join(reversed(LONG.split()))),
        ("我不能吃肉", "我不能吃鱼"),
        ("什么是滤芯", "什么是盖子"),
        ("???", "!!!"),
        ("def f(x): return x + 1", "def f(x): return x - 1"),
        ('{"size": 10}', '{"size": 100}'),
    ],
)
def test_a_prompt_with_other_words_numbers_or_order_is_not(one: str, other: str) -> None:
    assert found(one, other) == set()


def test_records_with_other_system_messages_are_different() -> None:
    same, other = [record(place, "hello", system=text) for place, text in enumerate(("Be brief.", "Be kind."))]
    assert find_near_duplicates([same, other]) == {}
    assert find_near_duplicates([same, record(2, "Hello!", system="Be brief.")]) == {"r0": ["r2"], "r2": ["r0"]}


def test_the_turns_of_a_conversation_are_one_prompt() -> None:
    near = find_near_duplicates([record(0, LONG, "thank you"), record(1, LONG, "thank you!"), record(2, "thank you")])
    assert near == {"r0": ["r1"], "r1": ["r0"]}


def test_what_many_prompts_share_is_a_template_and_not_compared() -> None:
    questions = [f"{LONG} Tell me about {'abcdefghijklmnop'[place]}lpha" for place in range(MANY_PROMPTS)]
    assert found(*questions) == set()
    assert len(found(*questions[:-1])) == 36, "what 9 prompts share counts"
    assert found(*questions, questions[0] + "!") == {(0, MANY_PROMPTS)}
    equal = [LONG.upper(), *[LONG] * MANY_PROMPTS, f"{LONG} And more"]
    assert found(*equal) == set(combinations(range(MANY_PROMPTS + 1), 2)), "prompts that are all template"


WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join)


@given(
    st.lists(WORDS, max_size=14).flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(range(len(texts)))))
)
def test_the_order_of_records_does_not_matter(drawn: tuple[list[str], list[int]]) -> None:
    texts, order = drawn
    records = [record(place, text) for place, text in enumerate(texts)]
    near = find_near_duplicates(records)
    shuffled = find_near_duplicates([records[place] for place in order])
    assert {one: set(others) for one, others in near.items()} == {one: set(others) for one, others in shuffled.items()}


@given(st.lists(WORDS, max_size=9))
def test_near_duplicates_are_those_of_the_definition(texts: list[str]) -> None:
    """With few prompts there is no template; a prompt of fewer than 3 words is one run."""

    def runs(text: str) -> set[tuple[str, ...]]:
        items = text.split()
        return {tuple(items[place : place + 3]) for place in range(max(1, len(items) - 2))}

    pairs = {
        (one, other)
        for (one, first), (other, second) in combinations(enumerate(map(runs, texts)), 2)
        if len(first & second) >= 0.9 * len(first | second)
    }
    assert found(*texts) == pairs


def test_every_process_finds_the_same() -> None:
    """Python's own hashes of strings differ between processes."""
    command = (
        "from kubedistill_runtime.curation.near_duplicates import _cut\n"
        "from kubedistill_runtime.records import Message, Record\n"
        f"print(*next(_cut([Record('r', (Message('user', {LONG!r}),))])))"
    )
    runs = {subprocess.run([sys.executable, "-c", command], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1
