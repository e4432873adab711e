"""The work queue: no key is lost, none runs twice at a time, and one that fails waits longer each time."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kubedistill_operator.loop.workqueue import MAX_BACKOFF_SECONDS, Key, WorkQueue

A, B, C = ("team-a", "one"), ("team-a", "two"), ("team-b", "one")


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, random_fraction=lambda: 0.0)


def taken(queue: WorkQueue) -> list[Key]:
    """Return all keys that can be taken now; they stay taken."""
    keys = []
    while (item := queue.take()) is not None:
        keys.append(item[0])
    return keys


def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue) -> None:
    for key in (B, A, C):
        queue.add(key)
    assert taken(queue) == [B, A, C]


def test_a_key_that_is_added_many_times_runs_once(queue: WorkQueue) -> None:
    for _ in range(50):
        queue.add(A)
    assert queue.depth == 1
    assert taken(queue) == [A]


def test_a_key_that_is_added_while_it_runs_runs_once_more_afterwards(queue: WorkQueue) -> None:
    queue.add(A)
    assert taken(queue) == [A]
    queue.add(A)
    assert taken(queue) == [], "it still runs"
    queue.done(A)
    assert taken(queue) == [A]
    queue.done(A)
    assert taken(queue) == []


def test_what_is_urgent_comes_first_and_once(queue: WorkQueue) -> None:
    for key in (A, B, C):
        queue.add(key)
    for _ in range(3):
        queue.add(C, urgent=True)
    assert queue.depth == 3
    assert taken(queue) == [C, A, B]
    for key in (A, B, C):
        queue.done(key)
    assert taken(queue) == []


def test_a_key_is_urgent_for_one_run(queue: WorkQueue) -> None:
    queue.add(B, urgent=True)
    assert taken(queue) == [B]
    queue.done(B)
    for key in (A, B):
        queue.add(key)
    assert taken(queue) == [A, B]


def test_a_key_that_becomes_urgent_while_it_runs_is_so_afterwards(queue: WorkQueue) -> None:
    queue.add(B)
    assert taken(queue) == [B]
    queue.add(A)
    queue.add(B, urgent=True)
    queue.done(B)
    assert taken(queue) == [B, A]


def test_an_urgent_timer_makes_its_key_urgent_however_that_is_added(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    queue.add_after(C, 0.5, urgent=True)
    queue.add_after(B, 1)
    queue.add_after(B, 2, urgent=True)
    clock.now += 1
    assert taken(queue) == [C, B, A]


def test_a_key_that_waits_is_not_kept_waiting_by_an_urgent_timer(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    queue.add_after(B, 1, urgent=True)
    assert taken(queue) == [B, A]


def test_a_timer_rings_when_it_is_due_and_the_earliest_counts(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 30)
    queue.add_after(A, 10)
    queue.add_after(A, 20)
    assert queue.seconds_until_due() == 10
    clock.now += 9.9
    assert taken(queue) == []
    clock.now += 0.2
    assert taken(queue) == [A]
    queue.done(A)
    clock.now += 100
    assert taken(queue) == [], "the later timers of the same key are gone"


def test_taking_a_key_clears_its_timer(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 10)
    queue.add(A)
    assert taken(queue) == [A]
    queue.done(A)
    clock.now += 60
    assert taken(queue) == []


def test_a_timer_that_rings_while_its_key_runs_makes_it_run_again(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    assert taken(queue) == [A]
    queue.add_after(A, 5)
    clock.now += 6
    assert taken(queue) == []
    queue.done(A)
    assert taken(queue) == [A]


def test_no_delay_is_now(queue: WorkQueue) -> None:
    queue.add_after(A, 0)
    assert taken(queue) == [A]


def test_a_key_that_fails_repeatedly_waits_twice_as_long_each_time_up_to_five_minutes(queue: WorkQueue) -> None:
    assert [queue.retry(A) for _ in range(12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert queue.retry(B) == 1, "each key has its own count"
    queue.reset_backoff(A)
    assert queue.retry(A) == 1


def test_jitter_only_shortens_a_wait(clock: Clock) -> None:
    assert WorkQueue(clock=clock, random_fraction=lambda: 1.0).retry(A) == 0.75
    queue = WorkQueue(clock=clock, random_fraction=lambda: 1.0)
    assert max(queue.retry(A) for _ in range(100)) <= MAX_BACKOFF_SECONDS


def test_a_wait_that_the_server_asked_for_is_kept(queue: WorkQueue) -> None:
    assert [queue.retry(A, min_delay=3) for _ in range(4)] == [3, 3, 4, 8]


def test_a_key_that_is_gone_leaves_nothing(queue: WorkQueue, clock: Clock) -> None:
    queue.retry(A)
    queue.forget(A)
    clock.now += 600
    assert taken(queue) == []
    assert queue.retry(A) == 1


def test_the_time_that_a_key_waited_is_told(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    clock.now += 4
    assert queue.take() == (A, 4)


def test_workers_wake_for_added_keys_and_for_timers() -> None:
    async def scenario() -> list[Key]:
        queue = WorkQueue()
        seen: list[Key] = []

        async def work() -> None:
            while True:
                key, _ = await queue.get()
                await asyncio.sleep(0)
                seen.append(key)
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0.01)
        queue.add_after(C, 0.05)
        queue.add(A)
        queue.add(B)
        async with asyncio.timeout(10):
            while len(seen) < 3:
                await asyncio.sleep(0.01)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return seen

    seen = asyncio.run(scenario())
    assert sorted(seen[:2]) == [A, B]
    assert seen[2] == C


def test_a_worker_that_is_cancelled_while_it_waits_leaves_no_task_behind() -> None:
    async def scenario() -> int:
        queue = WorkQueue()
        queue.add_after(A, 1000)
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(0.01)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1, "the scenario itself"


KEYS = st.sampled_from([A, B, C])


class NoKeyIsLost(RuleBasedStateMachine):
    """Against a model: what was asked for and has not been run since, and what is due when."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = WorkQueue(clock=self.clock, random_fraction=lambda: 0.5)
        self.owed: set[Key] = set()
        self.due: dict[Key, float] = {}
        self.urgent: set[Key] = set()
        self.running: list[Key] = []

    @rule(key=KEYS, urgent=st.booleans())
    def add(self, key: Key, *, urgent: bool) -> None:
        self.queue.add(key, urgent=urgent)
        self.owed.add(key)
        self.urgent |= {key} if urgent else set()

    @rule(key=KEYS, seconds=st.sampled_from([0.0, 0.5, 3.0, 40.0]), urgent=st.booleans())
    def add_after(self, key: Key, seconds: float, *, urgent: bool) -> None:
        self._fire_timers()  # a queue that is asked when takes what is due by then
        self.queue.add_after(key, seconds, urgent=urgent)
        self.urgent |= {key} if urgent else set()
        if not (urgent and key in self.owed):
            self._owe(key, seconds)

    @rule(key=KEYS)
    def fail(self, key: Key) -> None:
        self._owe(key, self.queue.retry(key))

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        self._fire_timers()
        item = self.queue.take()
        if item is None:
            assert self.owed <= set(self.running), "a key that is owed and does not run can be taken"
            return
        key, _ = item
        assert key not in self.running, "never two at once"
        assert key in self.owed, "nothing runs that nobody asked for"
        assert key in self.urgent or not self.urgent & self.owed - set(self.running), "what is urgent comes first"
        self.owed.discard(key)
        self.urgent.discard(key)
        self.due.pop(key, None)
        self.running.append(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.running))
        self.running.remove(key)
        self.queue.done(key)

    @invariant()
    def each_key_runs_once(self) -> None:
        assert len(self.running) == len(set(self.running))

    def teardown(self) -> None:
        """Let everything run: nothing that is owed may be left."""
        for _ in range(20):
            while self.running:
                self.queue.done(self.running.pop())
            self.clock.now += 1000
            self.take()
        assert not self.owed
        assert not self.due

    def _owe(self, key: Key, seconds: float) -> None:
        if seconds <= 0:
            self.owed.add(key)
        else:
            self.due[key] = min(self.clock.now + seconds, self.due.get(key, float("inf")))

    def _fire_timers(self) -> None:
        for key, due in list(self.due.items()):
            if due <= self.clock.now:
                del self.due[key]
                self.owed.add(key)


TestNoKeyIsLost = NoKeyIsLost.TestCase
