"""The pool of replicas: who answers a batch, and what happens if a replica can't be started again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from kubedistill.errors import EngineLost
from kubedistill_runtime.serving.engine import Completion, NoEngine, Sampling, Watch
from kubedistill_runtime.serving.engine_pool import EnginePool

PROMPTS = [[1, 2], [3]]


class Replica:
    """A replica that holds each batch until it is told to continue."""

    def __init__(self, name: str, *, lanes: int = 1, starts: Sequence[bool] = ()) -> None:
        self.name, self.lanes = name, lanes
        self.starts = list(starts)
        """Whether its next starts succeed; later ones do."""
        self.active = self.most = 0
        self.began, self.released = Event(), Event()
        self.released.set()

    def start(self) -> None:
        if self.starts and not self.starts.pop(0):
            raise EngineLost("its node is gone", at="Ray", fix="Start again")

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], watch: Watch
    ) -> list[Completion]:
        self.active += 1
        self.most = max(self.most, self.active)
        self.began.set()
        assert self.released.wait(20)
        self.active -= 1
        return [Completion((ord(self.name),), "stop") for _ in prompts]


def ask(pool: EnginePool, *, alone: bool = False) -> str:
    """Return the name of the replica that answered."""
    first, *_ = pool.generate(PROMPTS, sampling=Sampling(), seeds=[0, 0], alone=alone)
    return chr(first.ids[0])


def pool_of(*replicas: Replica) -> EnginePool:
    return EnginePool(replicas)  # type: ignore[arg-type]


@contextmanager
def held(replica: Replica) -> Iterator[None]:
    """Hold the batches of a replica during the block."""
    replica.released.clear()
    try:
        yield
    finally:
        replica.released.set()


def test_a_pool_has_the_lanes_of_all_replicas_and_repeats_if_each_has_one() -> None:
    assert (pool_of(Replica("a"), Replica("b")).lanes, pool_of(Replica("a"), Replica("b")).repeats) == (2, True)
    several = pool_of(Replica("a", lanes=4), Replica("b", lanes=4))
    assert (several.lanes, several.repeats) == (8, False)


def test_a_slow_replica_leaves_the_other_batches_to_the_rest() -> None:
    slow, fast = Replica("a"), Replica("b")
    pool = pool_of(slow, fast)
    with ThreadPoolExecutor(1) as other, held(slow):
        first = other.submit(ask, pool)
        assert slow.began.wait(20)
        assert [ask(pool) for _ in range(5)] == ["b"] * 5
        slow.released.set()
        assert first.result(20) == "a"


def test_a_replica_that_cannot_be_started_again_is_worked_around() -> None:
    pool = pool_of(Replica("a", starts=[False, False, True]), Replica("b"))
    assert [ask(pool) for _ in range(4)] == ["b"] * 4
    assert pool.lanes == 2, "the threads that feed it stay"


def test_a_replica_whose_actor_has_died_is_started_once_more() -> None:
    pool = pool_of(Replica("a", starts=[False, True]), Replica("b"))
    assert ask(pool) == "a"


def test_replicas_are_started_at_once_and_those_that_fail_are_left_out() -> None:
    pool = pool_of(Replica("a", starts=[False, False]), Replica("b"), Replica("c", starts=[True]))
    pool.start()
    assert {ask(pool) for _ in range(4)} <= {"b", "c"}


def test_without_a_replica_there_is_no_engine() -> None:
    pool = pool_of(Replica("a", starts=[False] * 4), Replica("b", starts=[False] * 4))
    with pytest.raises(NoEngine) as refused:
        ask(pool)
    assert refused.value.reason == EngineLost.reason
    assert refused.value.cause == "infrastructure"


def test_a_batch_that_is_to_be_alone_waits_for_the_others_and_holds_up_later_ones() -> None:
    replica = Replica("a", lanes=3)
    pool = pool_of(replica)
    with ThreadPoolExecutor(6) as threads, held(replica):
        running = [threads.submit(ask, pool) for _ in range(2)]
        assert replica.began.wait(20)
        alone = threads.submit(ask, pool, alone=True)
        later = [threads.submit(ask, pool) for _ in range(2)]
        assert not alone.done()
        replica.released.set()
        assert {one.result(20) for one in (*running, alone, *later)} == {"a"}
    assert replica.most <= 3
    replica.most = 0
    assert ask(pool, alone=True) == "a"
    assert replica.most == 1
