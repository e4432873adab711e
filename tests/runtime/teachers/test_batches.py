"""Answering: each row is asked once, in the same batches after every kill, and its turns feed on each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from kubedistill.errors import Stopped
from kubedistill_runtime.answers import Answer, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import NoEngine, Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import Generator, answer_rows, collect_answers, missing_rows
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, Row, make_rows
from kubedistill_runtime.teachers.calls import Call, plan_calls, shards_per_call
from kubedistill_runtime.teachers.conversation import turn_seed
from support.fake_engines import FunctionEngine, spell
from support.store_facts import published_shards

KEY = "k" * 64
STOP = 4


def records(count: int, *, start: int = 0) -> list[Record]:
    return [Record(f"r{number}", (Message("user", f"Message {number}"),)) for number in range(start, start + count)]


def rows_of(*parts: Sequence[Record], samples: int = 1) -> list[Row]:
    return make_rows([record for part in parts for record in part], key=KEY, samples=samples)


def run(
    rows: Sequence[Row],
    *,
    engine: FunctionEngine,
    chat: ChatFormat,
    store: Store,
    max_model_len: int = 128,
    temperature: float = 1.0,
    max_tokens: int = 16,
    seed: int = 0,
    k: int = 2,
    stop_after: int | None = None,
) -> list[int]:
    """Answer rows; returns what was reported. stop_after asks it to leave once so many rows are answered."""
    reports: list[int] = []

    def report(done: int, _tokens: int) -> None:
        reports.append(done)
        if stop_after is not None and done >= stop_after:
            raise Stopped("asked to")

    generator = Generator(engine, chat, Sampling(temperature, max_tokens=max_tokens, k=k), max_model_len, seed)
    answer_rows(rows, cache=AnswerCache(store, KEY), generator=generator, report=report)
    return reports


@pytest.fixture
def engine() -> FunctionEngine:
    return FunctionEngine()


def test_rows_are_asked_in_batches_of_a_shard(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(600))
    reports = run(rows, engine=engine, chat=chat, store=store)
    assert sorted(len(batch) for batch in engine.batches) == [88, SHARD_ROWS, SHARD_ROWS]
    assert len(published_shards(store.root)) == 3
    assert reports == sorted(reports)
    assert (reports[0], reports[-1]) == (0, 600)


def test_answers_come_back_in_the_order_of_the_rows(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(300), samples=2)
    run(rows, engine=engine, chat=chat, store=store)
    answered = list(collect_answers(rows, cache=AnswerCache(store, KEY)))
    assert [(one.record.id, one.sample) for one in answered] == [(row.record.id, row.sample) for row in rows]
    for one, row in zip(answered, rows, strict=True):
        (turn,) = one.answer.turns
        prompt, seed = tuple(chat.prompt_ids(one.record.messages)), turn_seed(row, turn=0, seed=0)
        assert turn.prompt_ids == prompt
        assert turn.completion_ids == (*spell(prompt, seed), STOP)
        assert turn.text == chat.text(turn.completion_ids)
        assert turn.top is not None
        assert turn.top.ids_TK.shape == (len(turn.completion_ids), 2)
        assert turn.logprobs_T is not None
        assert turn.logprobs_T.tolist() == [-0.5] * len(turn.completion_ids)


def test_the_drawn_tokens_logprobs_are_stored_where_no_others_are(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    rows = rows_of(records(3))
    run(rows, engine=engine, chat=chat, store=store, k=0)
    for one in collect_answers(rows, cache=AnswerCache(store, KEY)):
        (turn,) = one.answer.turns
        assert turn.top is None
        assert turn.logprobs_T is not None
        assert turn.logprobs_T.shape == (len(turn.completion_ids),)


def test_an_engine_that_gives_no_logprobs_leaves_none(chat: ChatFormat, store: Store) -> None:
    class Silent(FunctionEngine):
        def generate(self, prompts, **options):  # type: ignore[no-untyped-def]
            given = FunctionEngine.generate(self, prompts, **options)
            return [replace(one, top=None, logprobs_T=None) for one in given]

    rows = rows_of(records(3))
    run(rows, engine=Silent(), chat=chat, store=store)
    turns = [one.answer.turns[0] for one in collect_answers(rows, cache=AnswerCache(store, KEY))]
    assert [(turn.top, turn.logprobs_T) for turn in turns] == [(None, None)] * 3


def test_tokens_are_counted(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(20))
    generator = Generator(engine, chat, Sampling(max_tokens=16), 128, 0)
    tokens = answer_rows(rows, cache=AnswerCache(store, KEY), generator=generator, report=lambda _done, _tokens: None)
    answered = list(collect_answers(rows, cache=AnswerCache(store, KEY)))
    assert tokens == sum(len(one.answer.turns[0].completion_ids) for one in answered)
    assert (
        answer_rows(rows, cache=AnswerCache(store, KEY), generator=generator, report=lambda _done, _tokens: None) == 0
    )


def test_what_is_known_is_neither_asked_nor_written_again(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    rows = rows_of(records(300))
    run(rows, engine=engine, chat=chat, store=store)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.root.rglob("*.parquet")}
    again = FunctionEngine()
    assert set(run(rows, engine=again, chat=chat, store=store)) == {300}
    assert again.batches == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.root.rglob("*.parquet")} == before


def test_only_missing_rows_are_asked(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    run(rows_of(records(100)), engine=engine, chat=chat, store=store)
    before = published_shards(store.root)
    more = rows_of(records(5, start=500), records(100), records(5, start=600))
    assert [row.record.id for row in missing_rows(more, cache=AnswerCache(store, KEY))] == [
        *(f"r{number}" for number in range(500, 505)),
        *(f"r{number}" for number in range(600, 605)),
    ]
    second = FunctionEngine()
    assert run(more, engine=second, chat=chat, store=store)[-1] == 110
    assert len(second.asked) == 10
    assert before.items() < published_shards(store.root).items()
    assert len(list(collect_answers(more, cache=AnswerCache(store, KEY)))) == 110


def test_equal_prompts_are_asked_once_and_all_are_counted(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    same = [Record(f"s{number}", (Message("user", "The same"),)) for number in range(400)]
    rows = rows_of(same, records(3))
    assert run(rows, engine=engine, chat=chat, store=store)[-1] == 403
    assert len(engine.asked) == 4
    answered = list(collect_answers(rows, cache=AnswerCache(store, KEY)))
    assert len({one.answer.row_key for one in answered[:400]}) == 1


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_killed_run_continues_to_the_same_shards(shards: int, chat: ChatFormat, tmp_path: Path) -> None:
    rows, killed, calm = rows_of(records(3 * SHARD_ROWS)), Store(tmp_path / "killed"), Store(tmp_path / "calm")

    class Killed(BaseException):
        """What no handler of ours may catch, as none can catch SIGKILL."""

    def dying(prompt: Sequence[int], seed: int) -> Sequence[int]:
        if len(first.batches) > shards:
            raise Killed
        return spell(prompt, seed)

    first, second, undisturbed = FunctionEngine(reply=dying), FunctionEngine(), FunctionEngine()
    with pytest.raises(Killed):
        run(rows, engine=first, chat=chat, store=killed)
    published = published_shards(killed.root)
    assert len(published) == shards

    assert run(rows, engine=second, chat=chat, store=killed)[0] == shards * SHARD_ROWS
    run(rows, engine=undisturbed, chat=chat, store=calm)
    assert published_shards(killed.root) == published_shards(calm.root)
    assert published.items() <= published_shards(killed.root).items()
    assert sorted(first.batches[:shards] + second.batches) == sorted(undisturbed.batches)


def test_a_stop_loses_nothing_that_was_answered(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(6 * SHARD_ROWS))
    with pytest.raises(Stopped):
        run(rows, engine=engine, chat=chat, store=store, stop_after=256)
    stored = len(AnswerCache(store, KEY).find_answers())
    assert 256 <= stored == len(engine.asked) < len(rows)
    assert run(rows, engine=engine, chat=chat, store=store)[0] == stored
    assert len(engine.asked) == len(rows)


def test_a_stop_ends_the_batch_in_progress(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    class Endless(FunctionEngine):
        def _generate(self, prompts, *, sampling, seeds, watch):  # type: ignore[no-untyped-def]
            while True:
                watch(1, 7)

    reports: list[tuple[int, int]] = []

    def report(done: int, tokens: int) -> None:
        reports.append((done, tokens))
        if tokens:
            raise Stopped("asked to")

    generator = Generator(Endless(), chat, Sampling(), 128, seed=0)
    with pytest.raises(Stopped):
        answer_rows(rows_of(records(300)), cache=AnswerCache(store, KEY), generator=generator, report=report)
    assert reports[-1] == (1, 7), "replies that are not stored yet are shown"
    assert published_shards(store.root) == {}


def calls_of(rows: Sequence[Row], store: Store, *, shards: int = 2) -> list[Call]:
    return list(plan_calls(rows, cache=AnswerCache(store, KEY), shards=shards))


def test_the_quickstarts_lists_have_calls_of_one_shard_and_long_lists_of_several() -> None:
    assert [shards_per_call(rows) for rows in (0, 1, 300, 1200, 4095)] == [1] * 5
    assert [shards_per_call(rows) for rows in (4096, 10_000, 16_384, 10**7)] == [2, 4, 8, 8]


def test_a_long_list_is_asked_in_calls_of_several_shards(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    run(rows_of(records(17 * SHARD_ROWS)), engine=engine, chat=chat, store=store)
    assert sorted(len(batch) for batch in engine.batches) == [SHARD_ROWS, *[2 * SHARD_ROWS] * 8]
    assert len(published_shards(store.root)) == 17
    assert store.names(f"rows/{KEY}/calls") == []


def test_an_engine_that_does_not_repeat_its_replies_is_asked_shard_by_shard(chat: ChatFormat, store: Store) -> None:
    engine = FunctionEngine(repeats=False, lanes=3)
    run(rows_of(records(17 * SHARD_ROWS)), engine=engine, chat=chat, store=store)
    assert [len(batch) for batch in engine.batches] == [SHARD_ROWS] * 17


def test_a_call_that_lacks_a_shard_is_asked_as_a_whole_and_only_that_shard_is_stored(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    rows, known = rows_of(records(17 * SHARD_ROWS)), rows_of(records(3, start=5))
    run(known, engine=engine, chat=chat, store=store)
    before = calls_of(rows, store)
    assert [len(call.rows) for call in before] == [2 * SHARD_ROWS - 3, *[2 * SHARD_ROWS] * 7, SHARD_ROWS]
    before[0].begin(AnswerCache(store, KEY))
    shard = before[0].shards[0]
    AnswerCache(store, KEY).add([Answer(row.key, (Turn((1,), (2,), "kept", "stop"),)) for row in shard])
    after = calls_of(rows, store)
    assert [call.rows for call in after] == [call.rows for call in before]
    engine.batches.clear()
    published = published_shards(store.root)
    run(rows, engine=engine, chat=chat, store=store)
    assert 2 * SHARD_ROWS - 3 in map(len, engine.batches)
    assert published.items() < published_shards(store.root).items()
    assert len(published_shards(store.root)) == 1 + 17
    kept = [one for one in collect_answers(rows, cache=AnswerCache(store, KEY)) if one.answer.turns[0].text == "kept"]
    assert len(kept) == SHARD_ROWS - 3
    assert store.names(f"rows/{KEY}/calls") == []


def test_rows_that_are_asked_again_are_not_counted_twice(chat: ChatFormat, store: Store) -> None:
    class Watched(FunctionEngine):
        def _generate(self, prompts, *, sampling, seeds, watch):  # type: ignore[no-untyped-def]
            watch(len(prompts), 7)
            assert seen.wait(20)
            return super()._generate(prompts, sampling=sampling, seeds=seeds, watch=watch)

    rows, cache, seen, counts = rows_of(records(17 * SHARD_ROWS)), AnswerCache(store, KEY), Event(), []
    first, *_ = calls_of(rows, store)
    first.begin(cache)
    answered = [row for row in rows if row not in first.shards[1]]
    for start in range(0, len(answered), SHARD_ROWS):
        cache.add(
            [Answer(row.key, (Turn((1,), (2,), "kept", "stop"),)) for row in answered[start : start + SHARD_ROWS]]
        )

    def report(done: int, tokens: int) -> None:
        counts.append(done)
        if tokens:
            seen.set()

    generator = Generator(Watched(), chat, Sampling(), 128, seed=0)
    answer_rows(rows, cache=cache, generator=generator, report=report)
    assert counts[0] == len(answered)
    assert max(counts) == len(rows)


def test_the_note_of_a_call_that_was_stored_before_a_kill_is_removed(chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(2 * SHARD_ROWS))
    (call,) = calls_of(rows, store)
    call.begin(AnswerCache(store, KEY))
    run(rows, engine=FunctionEngine(), chat=chat, store=store)
    assert len(store.names(f"rows/{KEY}/calls")) == 1
    assert calls_of(rows, store) == []
    assert store.names(f"rows/{KEY}/calls") == []


def test_seeds_belong_to_rows_and_not_to_their_company(chat: ChatFormat, store: Store, tmp_path: Path) -> None:
    alone, together, other = FunctionEngine(), FunctionEngine(), FunctionEngine()
    run(rows_of(records(1, start=7)), engine=alone, chat=chat, store=store)
    run(rows_of(records(20)), engine=together, chat=chat, store=Store(tmp_path / "together"))
    run(rows_of(records(20)), engine=other, chat=chat, store=Store(tmp_path / "other"), seed=1)
    (seeds,), (others,) = together.seeds, other.seeds
    assert alone.seeds == [[seeds[7]]]
    assert len(set(seeds)) == 20
    assert not set(seeds) & set(others)
    assert all(0 <= seed < 2**31 for seed in seeds)


# Conversations

TALK = Record("talk", (Message("system", "Be kind."), *(Message("user", text) for text in ("One", "Two", "Three"))))
SHORT = Record("short", (Message("user", "Only this"),))


def test_each_question_is_asked_after_the_models_own_replies(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    rows = rows_of([TALK, SHORT])
    run(rows, engine=engine, chat=chat, store=store, max_model_len=512)
    conversation, short = collect_answers(rows, cache=AnswerCache(store, KEY))
    assert [len(batch) for batch in engine.batches] == [2, 1, 1], "turn by turn, all that continue together"
    assert len(short.answer.turns) == 1
    history: list[Message] = [TALK.messages[0]]
    for question, turn in zip(("One", "Two", "Three"), conversation.answer.turns, strict=True):
        history.append(Message("user", question))
        assert turn.prompt_ids == tuple(chat.prompt_ids(history))
        history.append(Message("assistant", turn.text))
    assert len({seed for seeds in engine.seeds for seed in seeds}) == 4, "each turn is drawn again"


def test_a_records_own_replies_are_context_and_only_the_last_turn_is_asked(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    messages = (Message("user", "One"), Message("assistant", "its own"), Message("user", "Two"))
    rows = rows_of([Record("context", messages)])
    run(rows, engine=engine, chat=chat, store=store, max_model_len=512)
    (answered,) = collect_answers(rows, cache=AnswerCache(store, KEY))
    (turn,) = answered.answer.turns
    assert engine.asked == [turn.prompt_ids] == [tuple(chat.prompt_ids(messages))]


def test_a_reply_that_is_cut_off_ends_the_talk(engine: FunctionEngine, chat: ChatFormat, store: Store) -> None:
    engine.reply = lambda prompt, seed: [50] * 9
    rows = rows_of([TALK])
    run(rows, engine=engine, chat=chat, store=store, max_tokens=5)
    (conversation,) = collect_answers(rows, cache=AnswerCache(store, KEY))
    (turn,) = conversation.answer.turns
    assert (turn.finish, len(turn.completion_ids)) == ("length", 5)
    assert len(engine.batches) == 1


def test_a_talk_that_outgrows_the_model_ends_with_an_unfinished_turn(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    first = len(chat.prompt_ids(TALK.messages[:2]))
    engine.reply = lambda prompt, seed: [50] * 7
    rows = rows_of([TALK, SHORT])
    run(rows, engine=engine, chat=chat, store=store, max_model_len=first + 9)
    conversation, short = collect_answers(rows, cache=AnswerCache(store, KEY))
    assert [turn.finish for turn in conversation.answer.turns] == ["stop", "length"]
    assert (conversation.answer.turns[1].completion_ids, conversation.answer.turns[1].text) == ((), "")
    assert short.answer.turns[0].finish == "stop"
    assert max(len(prompt) for prompt in engine.asked) < first + 9, "the engine never sees what does not fit"


def test_a_prompt_with_room_for_one_token_is_asked_and_one_without_is_not(
    engine: FunctionEngine, chat: ChatFormat, store: Store
) -> None:
    length = len(chat.prompt_ids(SHORT.messages))
    for room, asked in ((1, 1), (0, 0)):
        engine.batches.clear()
        target = Store(store.root / str(room))
        run(rows_of([SHORT]), engine=engine, chat=chat, store=target, max_model_len=length + room)
        assert len(engine.asked) == asked


# Engines that die


def test_a_batch_whose_engine_dies_once_is_asked_again(chat: ChatFormat, store: Store, tmp_path: Path) -> None:
    rows, dying, calm = rows_of(records(300)), FunctionEngine(dies_at=1), FunctionEngine()
    run(rows, engine=dying, chat=chat, store=store)
    run(rows, engine=calm, chat=chat, store=Store(tmp_path / "calm"))
    assert sorted(dying.batches) == sorted([dying.batches[0], *calm.batches])
    assert published_shards(store.root) == published_shards(tmp_path / "calm")


def test_a_crash_of_several_batches_is_blamed_on_none_before_each_was_alone(chat: ChatFormat, store: Store) -> None:
    """If one row crashes an engine with three batches, the other two have crashed too, and are innocent."""
    rows = rows_of(records(3 * SHARD_ROWS))
    engine = FunctionEngine(lanes=3, repeats=False, crashes=3)
    run(rows, engine=engine, chat=chat, store=store)
    assert engine.alone.count(True) == 3
    assert all(one.answer.turns for one in collect_answers(rows, cache=AnswerCache(store, KEY)))


def test_without_any_engine_no_row_is_blamed(chat: ChatFormat, store: Store) -> None:
    class Gone(FunctionEngine):
        def generate(self, prompts, **options):  # type: ignore[no-untyped-def]
            raise NoEngine("no GPU is left", at="Ray", fix="Start again")

    for repeats in (True, False):
        with pytest.raises(NoEngine):
            run(rows_of(records(3)), engine=Gone(repeats=repeats), chat=chat, store=store)
    assert published_shards(store.root) == {}


def test_a_row_that_kills_the_engine_is_left_out_and_all_others_are_answered(chat: ChatFormat, store: Store) -> None:
    rows = rows_of(records(40))
    engine = FunctionEngine(deadly=tuple(chat.prompt_ids(rows[17].record.messages)))
    run(rows, engine=engine, chat=chat, store=store)
    answered = list(collect_answers(rows, cache=AnswerCache(store, KEY)))
    assert [one.record.id for one in answered if not one.answer.turns] == ["r17"]
    assert len(published_shards(store.root)) == 1
    assert missing_rows(rows, cache=AnswerCache(store, KEY)) == [], "it is not asked again by the next run"
