import statistics
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.fragments import Pool, pool_of
from generator.messages import HARD_KINDS, Draft, Kind, Message, generate_messages, join_fragments, seeded_random
from generator.typos import add_typos
from generator.vocabulary import Source, load_vocabulary

VOCABULARY = load_vocabulary()
ROWS = 4_000


def draw(rows: int, *, pool: Pool = Pool.JOB, seed: int = 5) -> list[Message]:
    return list(islice(generate_messages(VOCABULARY, pool=pool, seed=seed), rows))


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return draw(ROWS)


def test_messages_have_18_to_30_words(messages: list[Message]):
    words = [len(message.text.split()) for message in messages]
    assert min(words) >= 18
    assert max(words) <= 30
    assert statistics.mean(words) == pytest.approx(27, abs=0.3)


def test_texts_are_distinct_sentences(messages: list[Message]):
    assert len({message.text for message in messages}) == len(messages)
    assert all(message.text[0].isupper() and message.text.endswith(".") for message in messages)


def test_labels_are_equally_likely(messages: list[Message]):
    counts = Counter(message.draft.label for message in messages)
    assert set(counts) == set(VOCABULARY.labels)
    chi_square = sum((count - ROWS / 24) ** 2 / (ROWS / 24) for count in counts.values())
    assert chi_square < 49.7  # 99.9 % point at 23 degrees of freedom


def test_a_fifth_is_hard(messages: list[Message]):
    counts = Counter(message.draft.kind for message in messages)
    for kind in HARD_KINDS:
        assert counts[kind] / ROWS == pytest.approx(0.05, abs=0.014)


def test_fragments_are_of_the_asked_pool():
    for pool in Pool:
        assert {pool_of(text) for message in draw(300, pool=pool) for text in message.fragments} == {pool}


def test_text_holds_its_fragments_in_order(messages: list[Message]):
    for message in messages:
        if message.draft.kind is Kind.PLAIN:
            assert message.text.lower() == ", ".join(message.fragments).lower() + "."


def test_other_cues_never_speak_for_a_negated_label(messages: list[Message]):
    for draft in (message.draft for message in messages if message.draft.kind is Kind.NEGATION):
        (negated,) = draft.other_cues
        assert negated.source is Source.OWN
        assert negated.owner != draft.label


def test_same_seed_same_messages():
    assert draw(50, seed=7) == draw(50, seed=7)
    assert draw(50, seed=7) != draw(50, seed=8)
    assert draw(50, seed=7) != draw(50, seed=7, pool=Pool.TEST)


@pytest.mark.parametrize(
    ("kind", "swapped", "text"),
    [
        (Kind.PLAIN, False, "a, b"),
        (Kind.TYPOS, False, "a, b"),
        (Kind.CORRECTION, False, "x, no sorry, it is actually a, b"),
        (Kind.PRIORITY, False, "most urgent: a, b; less urgent: x"),
        (Kind.PRIORITY, True, "less urgent: x; most urgent: a, b"),
        (Kind.NEGATION, False, "a, x, b"),
        (Kind.NEGATION, True, "x, a, b"),
    ],
)
def test_sentence_of_each_kind(kind: Kind, swapped: bool, text: str):
    draft = Draft("billing.ask", kind, (), swapped=swapped)
    assert join_fragments(draft, ["a", "b"], ["x"]) == text


@given(text=st.from_regex(r"[a-z]{1,12},?( [a-z]{1,12},?){0,12}", fullmatch=True), seed=st.integers(0, 99))
def test_typos_touch_up_to_three_long_words(text: str, seed: int):
    before = text.split(" ")
    after = add_typos(seeded_random(seed, pool=Pool.JOB), text=text).split(" ")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) <= 3
    for old, new in changed:
        assert len(old.strip(",")) >= 5
        assert (old[0], old[-1]) == (new[0], new[-1])
        assert abs(len(old) - len(new)) <= 1
