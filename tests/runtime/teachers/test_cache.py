"""The cache of answers: which answers are equal, and shards that are written once and read only if whole."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.answers import (
    Answer,
    TopK,
    Turn,
    decode_answers,
    decode_states,
    encode_answers,
    open_answers,
)
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers import cache
from kubedistill_runtime.teachers.cache import (
    AnswerCache,
    ShardReader,
    locate_answers,
    make_rows,
    model_key,
)
from support.messages import CheckMessage, check_facts

KEY = "k" * 64
SERVING = Serving(Model("teacher", Path("teacher"), "digest", 1000, {}), max_model_len=128, k=4)
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=16, k=4)


def answer(name: str, *, text: str = "yes") -> Answer:
    return Answer(f"row-{name}", (Turn((1, 2), (3, 4), text, "stop"),))


def read_all(store: Store, names: Sequence[str], **options: Any) -> dict[str, Answer]:
    shards = ShardReader(store, locate_answers(store, names), **options)
    return {row_key: shards.answer(row_key) for row_key in shards.where}


def add(store: Store, *names: str, text: str = "yes") -> str:
    return AnswerCache(store, KEY).add([answer(name, text=text) for name in names])


# Which answers are the same


def other_model(serving: Serving) -> Serving:
    return replace(serving, model=replace(serving.model, digest="other"))


def elsewhere(serving: Serving) -> Serving:
    return replace(serving, model=replace(serving.model, source="moved", path=Path("moved")))


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (other_model, False),
        (lambda serving: replace(serving, max_model_len=64), False),
        (lambda serving: replace(serving, dtype="BFloat16"), False),
        (lambda serving: replace(serving, quantization="fp8"), False),
        (elsewhere, True),
        (lambda serving: replace(serving, tensor_parallel_size=2, pipeline_parallel_size=2), True),
    ],
)
def test_a_model_is_known_by_what_it_answers_and_not_by_where_it_runs(
    edit: Callable[[Serving], Serving], *, same: bool
) -> None:
    keys = [model_key(serving, sampling=SAMPLING, seed=0) for serving in (SERVING, edit(SERVING))]
    assert (keys[0] == keys[1]) == same


@pytest.mark.parametrize("change", [{"temperature": 0.8}, {"top_p": 1.0}, {"max_tokens": 8}, {"k": 0}])
def test_every_part_of_sampling_makes_other_answers(change: dict[str, Any]) -> None:
    other = model_key(SERVING, sampling=replace(SAMPLING, **change), seed=0)
    assert other != model_key(SERVING, sampling=SAMPLING, seed=0)


@pytest.mark.parametrize(("temperature", "same"), [(0.0, True), (0.7, False)])
def test_the_seed_counts_where_something_is_drawn(temperature: float, *, same: bool) -> None:
    sampling = replace(SAMPLING, temperature=temperature)
    keys = [model_key(SERVING, sampling=sampling, seed=seed) for seed in (0, 1)]
    assert (keys[0] == keys[1]) == same


SYSTEM, HELLO = Message("system", "Be brief."), Message("user", "Hello")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Record("b", (SYSTEM, HELLO), ("gold",), ("tag",)), True),
        (Record("a", (SYSTEM, HELLO, Message("assistant", "context"), HELLO)), False),
        (Record("a", (HELLO,)), False),
        (Record("a", (SYSTEM, Message("user", "Hello "))), False),
        (Record("a", (Message("user", "Be brief."), HELLO)), False),
        (Record("a", (SYSTEM, HELLO, HELLO)), False),
    ],
)
def test_rows_are_the_same_where_the_prompt_is(other: Record, *, same: bool) -> None:
    (first,), (second,) = (make_rows([one], key=KEY, samples=1) for one in (Record("a", (SYSTEM, HELLO)), other))
    assert (first.key == second.key) == same


def test_each_sample_and_each_model_has_rows_of_its_own() -> None:
    record = Record("a", (HELLO,))
    rows = make_rows([record], key=KEY, samples=3) + make_rows([record], key="other", samples=3)
    assert [one.sample for one in rows] == [0, 1, 2, 0, 1, 2]
    assert len({one.key for one in rows}) == 6


# Shards


def test_a_shard_is_never_rewritten(store: Store) -> None:
    name = add(store, "a", "b")
    before = store.read(name)
    assert add(store, "a", "b", text="no") == name
    assert store.read(name) == before


def test_the_first_shard_that_holds_a_row_counts(store: Store) -> None:
    names = sorted([add(store, "a", "b", text="yes"), add(store, "b", "c", text="no")])
    known = AnswerCache(store, KEY).find_answers()
    assert known.keys() == {"row-a", "row-b", "row-c"}
    assert known["row-b"] == names[0]
    first = read_all(store, names)["row-b"]
    assert first == next(one for one in decode_answers(store.read(names[0])) if one.row_key == "row-b")


def test_a_cache_finds_what_another_driver_adds_meanwhile(store: Store) -> None:
    own, other = AnswerCache(store, KEY), AnswerCache(store, KEY)
    first = own.add([answer("a"), answer("b")])
    later = other.add([answer("b", text="no"), answer("c")])
    expected = {"row-a": first, "row-b": min(first, later), "row-c": later}
    assert own.find_answers() == other.find_answers() == AnswerCache(store, KEY).find_answers() == expected


def test_a_shard_that_another_driver_published_first_counts_as_it_is(store: Store) -> None:
    own = AnswerCache(store, KEY)
    AnswerCache(store, KEY).add([Answer("row-a", (Turn((1,), (2,), "cut", "length"),))])
    own.add([answer("a")])
    assert own.find_ended() == set()


def test_what_is_too_large_for_one_shard_becomes_two(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD_BYTES", 2 * answer("a").nbytes)
    add(store, *"abcdefgh")
    names = store.names(f"rows/{KEY}")
    assert [list(decode_states(store.read(name))) for name in names].count(["row-a", "row-b"]) == 1
    assert len(names) == 4
    assert read_all(store, names) == {f"row-{name}": answer(name) for name in "abcdefgh"}


def test_a_shard_is_measured_before_compression(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What compresses well would else be written with more bytes than Arrow's 32-bit offsets can find again."""
    monkeypatch.setattr(cache, "SHARD_BYTES", 2**16)
    top = TopK(np.zeros((256, 32), np.int32), np.zeros((256, 32), np.float16), np.zeros(256, np.float32))
    answers = [Answer(f"row-{name}", (Turn((), (7,) * 256, "", "stop", top),)) for name in "abcd"]
    assert len(encode_answers(answers)) < 2**16 < answers[0].nbytes * 2
    AnswerCache(store, KEY).add(answers)
    assert len(store.names(f"rows/{KEY}")) == 4


def test_answers_are_read_in_any_order_from_few_shards_in_memory(store: Store) -> None:
    names = [add(store, f"{first}1", f"{first}2", text=first) for first in "abcd"]
    shards = ShardReader(store, locate_answers(store, names), most_bytes=1)
    for name in ("d2", "a1", "a2", "b1", "a2", "c1", "d1"):
        assert shards.answer(f"row-{name}") == answer(name, text=name[0])
        assert len(shards._open) == 1, "one is kept whatever its size"
    large = ShardReader(store, shards.where)
    assert [large.answer(f"row-{first}1").turns[0].text for first in "abcd"] == list("abcd")
    assert len(large._open) == 4


def test_a_shard_of_duplicates_is_read_at_its_first(store: Store) -> None:
    name = AnswerCache(store, KEY).add([answer("a", text="first"), answer("a", text="second")])
    assert read_all(store, [name])["row-a"].turns[0].text == "first"


def test_without_distributions_only_they_are_missing(store: Store) -> None:
    top = TopK(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float16), np.zeros(2, np.float32))
    whole = Turn((1,), (2, 3), "yes", "stop", top, np.zeros(2, np.float32))
    name = AnswerCache(store, KEY).add([Answer("row-a", (whole,))])
    (turn,) = read_all(store, [name], distributions=False)["row-a"].turns
    assert turn == replace(whole, top=None, logprobs_T=None)


def test_what_came_to_its_end_is_known_without_the_answers(store: Store) -> None:
    ended, cut = Turn((1,), (2,), "a", "stop"), Turn((1,), (2,), "a", "length")
    turns = {"ended": (ended, ended), "cut": (ended, cut), "unanswered": ()}
    AnswerCache(store, KEY).add([Answer(f"row-{name}", turns[name]) for name in turns])
    assert AnswerCache(store, KEY).find_ended() == {"row-ended"}


def test_an_end_counts_in_the_first_shard_that_holds_the_row(store: Store) -> None:
    for name, finish in (("a", "stop"), ("b", "length")):
        AnswerCache(store, KEY).add(
            [Answer(f"row-{one}", (Turn((), (), "", finish),)) for one in (name, "both")],
        )
    first = AnswerCache(store, KEY).find_answers()["row-both"] == AnswerCache(store, KEY).find_answers()["row-a"]
    assert ("row-both" in AnswerCache(store, KEY).find_ended()) == first


def test_an_answer_counts_before_a_failure_of_the_endpoint_in_whichever_shard(store: Store) -> None:
    def with_finish(finish: str, *names: str) -> list[Answer]:
        return [Answer(f"row-{name}", (Turn((), (), finish, finish),)) for name in names]

    failed = [AnswerCache(store, KEY).add(with_finish("failed", *names)) for names in ("a", "ab", "c")]
    assert AnswerCache(store, KEY).find_answers().keys() == {"row-a", "row-b", "row-c"}
    assert AnswerCache(store, KEY).find_final() == {}
    later = [AnswerCache(store, KEY).add(with_finish("stop", *names)) for names in ("a", "b")]
    assert len({*failed, *later}) == 5, "a later answer has a name of its own"
    assert AnswerCache(store, KEY).find_final() == {"row-a": later[0], "row-b": later[1]}
    found = read_all(store, [*failed, *later])
    assert {name: one.turns[0].finish for name, one in found.items()} == {
        "row-a": "stop", "row-b": "stop", "row-c": "failed",
    }  # fmt: skip
    assert AnswerCache(store, KEY).find_ended() == {"row-a", "row-b"}
    assert read_all(store, failed)["row-a"].turns[0].finish == "failed", "what an artifact named does not change"


def test_one_answer_that_is_too_large_is_kept_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD_BYTES", 1)
    add(store, "a")
    assert AnswerCache(store, KEY).find_answers().keys() == {"row-a"}


def test_other_files_next_to_the_shards_are_not_shards(store: Store) -> None:
    store.put(f"rows/{KEY}/serving.json", b"{}")
    store.put(f"rows/{KEY}/._0123.parquet", b"what macOS writes beside a copied file")
    assert AnswerCache(store, KEY).find_answers() == {}


# Damage


def table(**columns: list[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "torn in the middle": lambda data: data[: len(data) // 2],
    "torn at its end": lambda data: data[:-1],
    "zeros where its footer was": lambda data: data[:-200] + bytes(200),
    "text": lambda data: b"row_key,turns\n",
    "another table": lambda data: table(prompt=["a"], answer=["b"]),
    "a table with the same keys": lambda data: table(row_key=["row-a"]),
    "keys of another kind": lambda data: table(row_key=[1], turns=[[]]),
}


READERS: dict[str, Callable[[Store, str], Any]] = {
    "find_answers": lambda store, name: AnswerCache(store, KEY).find_answers(),
    "locate_answers": lambda store, name: locate_answers(store, [name]),
    "find_ended": lambda store, name: AnswerCache(store, KEY).find_ended(),
    "ShardReader": lambda store, name: ShardReader(store, {"row-a": name}).answer("row-a"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_shard_is_named_with_the_way_out(damage: str, read: str, store: Store) -> None:
    name = add(store, "a", "b")
    store.put(name, DAMAGED[damage](store.read(name)))
    with pytest.raises(StorageUnavailable) as refused:
        READERS[read](store, name)
    assert refused.value.at == str(store.path(name))
    check_facts(refused.value.fix, "artifacts/answers", "artifacts/judge")


def test_a_foreign_file_among_the_shards_is_named(store: Store, check_message: CheckMessage) -> None:
    add(store, "a")
    store.put(f"rows/{KEY}/mine.parquet", table(x=[1]))
    with pytest.raises(StorageUnavailable) as refused:
        AnswerCache(store, KEY).find_answers()
    check_message(refused.value, "mine.parquet")


def test_a_shard_that_is_gone_is_named(store: Store, check_message: CheckMessage) -> None:
    name = f"rows/{KEY}/gone.parquet"
    for read in (READERS["locate_answers"], READERS["ShardReader"]):
        with pytest.raises(StorageUnavailable) as refused:
            read(store, name)
        check_message(refused.value, "gone.parquet")


# Encoding

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=6).map(tuple)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def tops(draw: st.DrawFn, length: int) -> TopK:
    shape = (length, draw(st.integers(1, 4)))
    masses = npst.arrays(np.float32, length, elements=st.floats(0, 1, width=32))
    return TopK(
        draw(npst.arrays(np.int32, shape, elements=st.integers(0, 2**31 - 1))),
        draw(npst.arrays(np.float16, shape, elements=st.floats(-6e4, 0, width=16))),
        draw(masses),
    )


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    completion = draw(IDS)
    top = draw(st.none() | tops(len(completion)))
    logprobs = draw(st.none() | npst.arrays(np.float32, len(completion), elements=st.floats(-1e4, 0, width=32)))
    return Turn(draw(IDS), completion, draw(TEXTS), draw(st.sampled_from(["stop", "length", "failed"])), top, logprobs)


ANSWERS = st.lists(st.builds(Answer, TEXTS, st.lists(turns(), max_size=3).map(tuple)), max_size=4)


def plain(answers: list[Answer]) -> list[Any]:
    """Return answers without arrays, which don't compare."""

    def values(*arrays: np.ndarray) -> Any:
        return [(part.tolist(), part.dtype.str, part.shape) for part in arrays]

    def arrays(turn: Turn) -> Any:
        top = turn.top and values(turn.top.ids_TK, turn.top.logprobs_TK, turn.top.tail_T)
        return (
            replace(turn, top=None, logprobs_T=None),
            top,
            None if turn.logprobs_T is None else values(turn.logprobs_T),
        )

    return [(one.row_key, [arrays(turn) for turn in one.turns]) for one in answers]


@given(ANSWERS)
def test_answers_survive_encoding_and_equal_answers_give_equal_bytes(answers: list[Answer]) -> None:
    data = encode_answers(answers)
    assert plain(decode_answers(data)) == plain(answers)
    assert encode_answers(decode_answers(data)) == data
    assert decode_states(data) == {one.row_key: (one.ended, one.failed) for one in reversed(answers)}
    table = open_answers(data)
    assert plain([table.answer(place) for place in reversed(range(len(answers)))]) == plain(answers[::-1])


@given(ANSWERS.filter(bool))
def test_an_answer_is_not_smaller_than_arrows_32_bit_offsets_reach(answers: list[Answer]) -> None:
    held = sum(part.nbytes for one in answers for turn in one.turns for part in _arrays(turn))
    assert sum(one.nbytes for one in answers) >= held


def _arrays(turn: Turn) -> list[np.ndarray]:
    top = [turn.top.ids_TK, turn.top.logprobs_TK, turn.top.tail_T] if turn.top else []
    return top if turn.logprobs_T is None else [*top, turn.logprobs_T]
