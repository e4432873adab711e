"""Answers of an endpoint: each row is asked once, what arrived is durable, and a kill loses only what is counted."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import EndpointUnavailable, QuotaExhausted, Stopped
from kubedistill_runtime.answers import Answer, TurnUsage, decode_answers
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers import endpoint_batches
from kubedistill_runtime.teachers.batches import collect_answers, missing_rows
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, Row, make_rows
from kubedistill_runtime.teachers.endpoint_batches import answer_rows
from kubedistill_runtime.teachers.usage import Usage, read_usage
from support.endpoint_driver import IN_FLIGHT, KEY, VARIABLE, generator_for, rows_to_answer
from support.endpoint_server import EndpointServer, Reaction, Received, chat, echo, endpoint_server, problem

API_KEY = "sk-canary-8d31f6aa"


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with endpoint_server() as server:
        yield server


def run(
    rows: Sequence[Row],
    server: EndpointServer,
    store: Store,
    *,
    stop_at: int | None = None,
    charge: Callable[[TurnUsage], None] = lambda _usage: None,
    **settings: float,
) -> Usage:
    """Answer rows; `stop_at` asks to stop once so many are answered."""

    def report(done: int, _tokens: int) -> None:
        if stop_at is not None and done >= stop_at:
            raise Stopped("asked to")

    generator = generator_for(server.url, api_key=API_KEY, **settings)
    return answer_rows(rows, cache=AnswerCache(store, KEY), generator=generator, report=report, charge=charge)


def stored(store: Store) -> list[Answer]:
    """Return every answer of the store, in shards or not, as often as it is there."""
    names = [name for part in ("", "/recent") for name in store.names(f"rows/{KEY}{part}") if ".parquet" in name]
    return [answer for name in names for answer in decode_answers(store.read(name))]


def test_each_row_is_asked_once_and_its_answer_is_in_a_shard(server: EndpointServer, store: Store) -> None:
    rows = rows_to_answer(600)
    charged = list[TurnUsage]()
    usage = run(rows, server, store, charge=charged.append)
    assert sum(one.completion_tokens for one in charged) == usage.completion_tokens > 0
    assert sum(one.prompt_tokens for one in charged) == usage.prompt_tokens > 0
    assert len(server.received) == 660
    assert Counter(answer.row_key for answer in stored(store)) == Counter(row.key for row in rows)
    assert sorted(name.count("/") for name in AnswerCache(store, KEY).find_answers().values()) == [2] * 600, (
        "none is left in recent"
    )
    sizes = sorted(
        len(decode_answers(store.read(name))) for name in set(AnswerCache(store, KEY).find_answers().values())
    )
    assert sizes == [88, SHARD_ROWS, SHARD_ROWS]
    assert (usage.requests, usage.retries, usage.unaccounted) == (660, 0, 0)
    assert (usage.prompt_tokens, usage.completion_tokens) == (7 * 660, 3 * 660)
    assert usage.models == {("teacher-1", "fp_1"): 660}
    assert read_usage(rows, cache=AnswerCache(store, KEY)) == usage, "a later run reads the same from the shards"


def test_a_conversation_continues_with_the_replies_of_the_endpoint(server: EndpointServer, store: Store) -> None:
    rows = rows_to_answer(1)
    run(rows, server, store)
    (answered,) = collect_answers(rows, cache=AnswerCache(store, KEY))
    assert [(turn.text, turn.finish, turn.prompt_ids) for turn in answered.answer.turns] == [
        ("RECORD 0", "stop", ()),
        ("AND 0?", "stop", ()),
    ]
    assert [message["content"] for message in server.received[1].body["messages"]] == ["record 0", "RECORD 0", "and 0?"]
    first, second = (received.body["seed"] for received in server.received)
    assert first != second


@pytest.mark.parametrize(
    ("reaction", "finish", "detail"),
    [
        (Reaction(body=chat(None, refusal="No.")), "refused", "No."),
        (Reaction(400, problem("blocked", code="content_filter")), "filtered", "HTTP 400: blocked"),
        (Reaction(body=chat("a", finish="length")), "length", ""),
    ],
)
def test_a_refusal_is_an_answer_with_its_reason_and_ends_the_conversation(
    reaction: Reaction, finish: str, detail: str, server: EndpointServer, store: Store
) -> None:
    server.react = lambda received: reaction if received.prompt == "record 0" else echo(received)
    rows = rows_to_answer(3)
    usage = run(rows, server, store)
    answers = [one.answer for one in collect_answers(rows, cache=AnswerCache(store, KEY))]
    assert [answer.ended for answer in answers] == [False, True, True]
    (turn,) = answers[0].turns
    assert turn.usage is not None
    assert (turn.finish, turn.usage.detail) == (finish, detail)
    assert usage.finishes == {finish: 1, "stop": 2}
    run(rows, server, store)
    assert len(server.received) == 3, "it is not asked again"


def test_a_row_whose_endpoint_failed_is_asked_again_by_the_next_run(server: EndpointServer, store: Store) -> None:
    broken = Reaction(500, problem("oops"))
    filtered = Reaction(400, problem("blocked", code="content_filter"))
    special = {"record 1": broken, "record 2": broken, "record 3": filtered}
    server.react = lambda received: special.get(received.prompt) or echo(received)
    rows = rows_to_answer(20)

    def finishes() -> dict[str, str]:
        answered = collect_answers(rows, cache=AnswerCache(store, KEY))
        return {one.record.id: one.answer.turns[-1].finish for one in answered}

    run(rows, server, store)
    assert (finishes()["r1"], finishes()["r2"], finishes()["r3"]) == ("failed", "failed", "filtered")
    for repaired, missing in (("record 1", {"record 1", "record 2"}), ("record 2", {"record 2"}), ("", set())):
        before = len(server.received)
        special.pop(repaired, None)
        assert len(missing_rows(rows, cache=AnswerCache(store, KEY))) == len(missing)
        run(rows, server, store)
        assert {one.prompt for one in server.received[before:]} == missing
    assert {name for name, finish in finishes().items() if finish != "stop"} == {"r3"}
    answers = Counter(answer.row_key for answer in stored(store) if not answer.failed)
    assert answers == Counter(row.key for row in rows), "none is lost or doubled"
    assert read_usage(rows, cache=AnswerCache(store, KEY)).finishes["failed"] == 0


def test_mixtures_and_retries_are_counted(server: EndpointServer, store: Store) -> None:
    numbers = itertools.count()

    def react(received: Received) -> Reaction:
        number = next(numbers)
        body = {**chat("x"), "system_fingerprint": f"fp_{number % 2}"}
        return Reaction(500, problem("oops")) if number == 5 else Reaction(body=body)

    server.react = react
    rows = rows_to_answer(9)
    usage = run(rows, server, store)
    assert (usage.requests, usage.retries, usage.finishes.total()) == (11, 1, 10)
    assert usage.models == {("teacher-1", "fp_0"): 6, ("teacher-1", "fp_1"): 4}


def test_only_missing_rows_are_asked_and_equal_prompts_once(server: EndpointServer, store: Store) -> None:
    run(rows_to_answer(20), server, store)
    before = len(server.received)
    same = [Record(f"s{number}", (Message("user", "the same"),)) for number in range(5)]
    rows = [*rows_to_answer(30), *make_rows(same, key=KEY, samples=1)]
    usage = run(rows, server, store)
    assert len(server.received) - before == usage.requests == 12
    assert [one.record.id for one in collect_answers(rows, cache=AnswerCache(store, KEY))] == [
        row.record.id for row in rows
    ]


def test_answers_are_durable_within_five_seconds_of_their_arrival(server: EndpointServer, store: Store) -> None:
    server.react = lambda one: Reaction(seconds=7.0, body=chat("late")) if "3" in one.prompt else echo(one)
    thread = threading.Thread(target=lambda: run(rows_to_answer(4), server, store))
    thread.start()
    arrived = time.monotonic()
    while len(stored(store)) < 3 and time.monotonic() - arrived < 6:
        time.sleep(0.05)
    waited, alive = time.monotonic() - arrived, thread.is_alive()
    thread.join()
    assert waited < 5
    assert alive, "the last row was still being asked"
    assert len(stored(store)) == 4


# Ends


def test_a_stop_loses_nothing_that_was_asked(server: EndpointServer, store: Store) -> None:
    server.react = lambda one: Reaction(seconds=0.2, body=chat("x"))
    rows = rows_to_answer(500)
    with pytest.raises(Stopped):
        run(rows, server, store, stop_at=20)
    answered = len(stored(store))
    assert 20 <= answered < 500
    assert read_usage(rows, cache=AnswerCache(store, KEY)).requests == len(server.received), (
        "what was asked was awaited"
    )
    server.react = echo
    run(rows, server, store)
    assert Counter(answer.row_key for answer in stored(store)) == Counter(row.key for row in rows)
    assert read_usage(rows, cache=AnswerCache(store, KEY)).unaccounted == 0


def test_a_reply_that_a_stop_does_not_wait_for_is_unaccounted(
    server: EndpointServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_batches, "_DRAIN_SECONDS", 0.1)
    server.react = lambda one: Reaction(seconds=15.0 if "3" in one.prompt else 0.0, body=chat("x"))
    rows = rows_to_answer(5)
    with pytest.raises(Stopped):
        run(rows, server, store, stop_at=4)
    assert read_usage(rows, cache=AnswerCache(store, KEY)).unaccounted == 1
    assert store.names(f"rows/{KEY}/in-flight") == []


def test_a22_a_quota_that_is_exhausted_midway_keeps_what_was_answered(server: EndpointServer, store: Store) -> None:
    quota = Reaction(429, problem("You exceeded your current quota", code="insufficient_quota"))
    numbers = itertools.count()
    server.react = lambda received: echo(received) if next(numbers) < 100 else quota
    rows = rows_to_answer(300)
    with pytest.raises(QuotaExhausted):
        run(rows, server, store)
    kept = {answer.row_key for answer in stored(store)}
    assert 80 <= len(kept) <= 100
    assert len(server.received) <= 100 + 3 * IN_FLIGHT, "no retry storm"
    before, server.react = len(server.received), echo
    run(rows, server, store)
    asked_again = len(server.received) - before
    assert Counter(answer.row_key for answer in stored(store)) == Counter(row.key for row in rows)
    turns = sum(2 if number % 10 == 0 else 1 for number in range(300))
    assert asked_again <= turns - len(kept)


def test_a22_an_outage_is_an_error_that_keeps_what_was_answered(server: EndpointServer, store: Store) -> None:
    numbers = itertools.count()
    server.react = lambda received: echo(received) if next(numbers) < 50 else Reaction(503, b"down")
    with pytest.raises(EndpointUnavailable):
        run(rows_to_answer(100), server, store, retry_seconds=1.0)
    assert len(stored(store)) >= 40


# Kills


def start_driver(store: Store, server: EndpointServer, *, count: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "support.endpoint_driver", str(store.root), server.url, str(count)]
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, VARIABLE: API_KEY, "PYTHONPATH": f"{tests}:{os.environ['PYTHONPATH']}"}
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def test_a22_a_killed_driver_loses_no_stored_row_and_doubles_none(
    server: EndpointServer, store: Store, tmp_path: Path
) -> None:
    sent: list[int] = []

    def react(received: Received) -> Reaction:
        sent.append(received.number)
        return Reaction(seconds=0.1, body=echo(received).body)

    server.react = react
    count, log, seen = 400, tmp_path / "driver.log", set[str]()
    for kill_at in (60, 220):  # requests that the server has received by then
        driver = start_driver(store, server, count=count, log=log)
        while len(sent) < kill_at and driver.poll() is None:
            time.sleep(0.01)
        command = Path(f"/proc/{driver.pid}/cmdline").read_bytes()
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        assert API_KEY.encode() not in command
        now = {answer.row_key for answer in stored(store)}
        assert seen <= now, "no stored row is lost"
        seen = now
    assert start_driver(store, server, count=count, log=log).wait(timeout=120) == 0

    rows = rows_to_answer(count)
    assert Counter(answer.row_key for answer in stored(store)) == Counter(row.key for row in rows)
    usage = read_usage(rows, cache=AnswerCache(store, KEY))
    lost = len(sent) - usage.requests
    assert 0 < lost <= usage.unaccounted, "what was paid for without an answer is counted"
    # Per kill: two rows per request in flight, a block that was noted, and what arrived since it was stored last.
    assert usage.unaccounted <= 2 * (4 * IN_FLIGHT + 5 * 10 * IN_FLIGHT)
    assert store.names(f"rows/{KEY}/in-flight") == []
    assert_key_is_nowhere(store, log)


def assert_key_is_nowhere(store: Store, log: Path) -> None:
    assert "RECORD" in "".join(turn.text for answer in stored(store) for turn in answer.turns), "files are compressed"
    texts: list[Any] = [log.read_text(), *map(repr, stored(store))]
    texts += [path.read_text() for path in store.root.rglob("*.json")]
    texts += [str(path) for path in store.root.rglob("*")]
    assert not [text for text in texts if API_KEY in text]
    assert "EndpointGenerator" in log.read_text(), "its representation was printed"


@pytest.mark.parametrize("text", [None, " ", "<think>hm</think>"])
def test_a_conversation_ends_with_a_blank_reply(text: str | None, server: EndpointServer, store: Store) -> None:
    server.react = lambda received: Reaction(body=chat(text)) if received.prompt == "record 0" else echo(received)
    run(rows_to_answer(2), server, store)
    assert [one.prompt for one in server.received].count("and 0?") == 0
    assert sorted(turn.text.strip() for answer in stored(store) for turn in answer.turns) == ["", "RECORD 1"]
