"""Recent answers and rows in flight: what a kill at any moment leaves is put in order by the next start."""

from collections import Counter
from pathlib import Path

import pytest

from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.answers import Answer, Turn, TurnUsage, decode_answers
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, Row
from kubedistill_runtime.teachers.in_flight import InFlight, count_lost, settle_lost
from kubedistill_runtime.teachers.recent_answers import RecentAnswers

KEY = "k" * 64


def answers(start: int, stop: int, *, finish: str = "stop") -> list[Answer]:
    usage = TurnUsage("teacher-1", "", 7, 3, 1)
    return [Answer(f"row-{number}", (Turn((), (), "x", finish, usage=usage),)) for number in range(start, stop)]


def keys(start: int, stop: int) -> set[str]:
    return {f"row-{number}" for number in range(start, stop)}


def row(name: str, turns: int = 1) -> Row:
    return Row(Record(name, tuple(Message("user", "x") for _ in range(turns))), 0, name)


def recent_files(store: Store) -> list[str]:
    return store.names(f"rows/{KEY}/recent")


def in_files(store: Store) -> list[str]:
    return [answer.row_key for name in recent_files(store) for answer in decode_answers(store.read(name))]


def test_answers_become_shards_as_soon_as_they_fill_one(store: Store) -> None:
    recent = RecentAnswers(AnswerCache(store, KEY))
    for start in range(0, 300, 30):
        recent.add(answers(start, start + 30))
        durable = Counter([*AnswerCache(store, KEY).find_answers(), *in_files(store)])
        assert durable == Counter(keys(0, start + 30)), "each is in one place"
    assert len(AnswerCache(store, KEY).find_answers()) == SHARD_ROWS
    assert len(in_files(store)) == 300 - SHARD_ROWS
    recent.merge()
    assert AnswerCache(store, KEY).find_answers().keys() == keys(0, 300)
    assert recent_files(store) == []


def test_many_answers_at_once_fill_several_shards(store: Store) -> None:
    recent = RecentAnswers(AnswerCache(store, KEY))
    recent.add(answers(0, 10))
    recent.add(answers(10, 3 * SHARD_ROWS + 5))
    assert len(set(AnswerCache(store, KEY).find_answers().values())) == 3
    assert sorted(in_files(store)) == sorted(keys(3 * SHARD_ROWS, 3 * SHARD_ROWS + 5))


@pytest.mark.parametrize("step", range(8))
def test_a_kill_between_any_two_writes_loses_and_doubles_nothing(step: int, tmp_path: Path) -> None:
    """Every write or deletion of the store is a moment at which the process may end."""

    class Killed(BaseException):
        pass

    class Dying(Store):
        left = step

        def _count(self) -> None:
            if Dying.left == 0:
                raise Killed
            Dying.left -= 1

        def put_if_absent(self, name: str, data: bytes) -> bool:
            self._count()
            return Store.put_if_absent(self, name, data)

        def delete(self, name: str) -> None:
            self._count()
            Store.delete(self, name)

    store = Store(tmp_path / "store")
    recent, returned = RecentAnswers(AnswerCache(Dying(store.root), KEY)), 0
    try:
        for start, stop in ((0, 100), (100, 200), (200, 300), (300, 310)):
            recent.add(answers(start, stop))
            returned = stop
        recent.merge()
    except Killed:
        pass
    following = RecentAnswers(AnswerCache(store, KEY))
    following.recover()
    assert AnswerCache(store, KEY).find_answers().keys() >= keys(0, returned), "what add returned for is durable"
    assert recent_files(store) == []
    shards = set(AnswerCache(store, KEY).find_answers().values())
    every = Counter(answer.row_key for name in shards for answer in decode_answers(store.read(name)))
    assert every.total() == len(every), "none is doubled"


@pytest.mark.parametrize(
    ("shard", "recent", "final"),
    [("failed", "stop", 2), ("failed", "failed", 0), ("stop", "failed", 2), ("stop", "stop", 2)],
)
def test_what_was_left_replaces_failures_only(shard: str, recent: str, final: int, store: Store) -> None:
    before = RecentAnswers(AnswerCache(store, KEY))
    before.add(answers(0, 2, finish=shard))
    before.merge()
    RecentAnswers(AnswerCache(store, KEY)).add(answers(0, 2, finish=recent))
    RecentAnswers(AnswerCache(store, KEY)).recover()
    assert recent_files(store) == []
    assert len(AnswerCache(store, KEY).find_final()) == final
    every = [answer for name in store.names(f"rows/{KEY}") if ".parquet" in name
             for answer in decode_answers(store.read(name))]  # fmt: skip
    assert len(every) == (4 if (shard, recent) == ("failed", "stop") else 2), "none is doubled"


def test_a_damaged_file_is_an_error_that_names_it(store: Store) -> None:
    store.put(f"rows/{KEY}/recent/ab.parquet", b"not parquet")
    with pytest.raises(StorageUnavailable) as refused:
        RecentAnswers(AnswerCache(store, KEY)).recover()
    assert "ab.parquet" in refused.value.at


# Rows in flight


def write_driver(store: Store, name: str, *, beat: int = 3) -> str:
    place = f"rows/{KEY}/in-flight/{name}"
    store.put(place, f'{{"beat": {beat}, "requests": {{"a": 1, "b": 2, "c": 1}}}}'.encode())
    return place


GONE = "driver-0123456789ab-77-" + "f" * 32
"""The name of a driver of another machine."""


def test_rows_of_a_driver_that_is_gone_are_counted_once(store: Store) -> None:
    write_driver(store, GONE)
    for _ in range(2):
        settle_lost(store, KEY, known={"a"}, sleep=lambda _: None)
        assert count_lost(store, KEY) == 3
    assert store.names(f"rows/{KEY}/in-flight") == []
    write_driver(store, GONE)  # killed between the two writes
    settle_lost(store, KEY, known={"a"}, sleep=lambda _: None)
    assert count_lost(store, KEY) == 3


def test_rows_of_a_driver_that_is_alive_are_not_counted(store: Store) -> None:
    place = write_driver(store, GONE)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        write_driver(store, GONE, beat=4)

    settle_lost(store, KEY, known=(), sleep=sleep)
    assert waited == [10.0]
    assert (count_lost(store, KEY), store.exists(place)) == (0, True)


def test_what_was_not_asked_or_is_stored_is_not_lost(store: Store) -> None:
    driver = InFlight(store, KEY)
    driver.begin([row("a", 2), row("b"), row("c")])
    driver.done(["b"])
    driver.end(asked={"a"})
    assert count_lost(store, KEY) == 2
    assert store.names(f"rows/{KEY}/in-flight") == []
