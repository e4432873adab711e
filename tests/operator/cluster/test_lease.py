"""The lease: at no time do two replicas believe that they lead, whatever requests, pauses and crashes do."""

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kubedistill_operator.cluster.api_errors import AlreadyExists, Conflict, LeaseLost, Transient
from kubedistill_operator.cluster.lease import DEADLINE_SECONDS, DURATION_SECONDS, REQUEST_SECONDS, Lease
from support.virtual_time import VirtualTime

Object = dict[str, Any]


@dataclass
class Board:
    """The API server's one Lease."""

    lease: Object | None = None
    version: int = 0

    def get(self) -> Object | None:
        return copy.deepcopy(self.lease)

    def create(self, manifest: Object) -> Object:
        if self.lease is not None:
            raise AlreadyExists("lease")
        return self._store(manifest)

    def replace(self, manifest: Object) -> Object:
        if self.lease is None or manifest["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("lease")
        return self._store(manifest)

    def _store(self, manifest: Object) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


@dataclass
class Api:
    """One replica's way to the board: requests take time, and may fail before or after they took effect."""

    board: Board
    time: VirtualTime
    delays: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
    """(until the server acts, from there to the answer)"""
    away: bool = False
    requests: list[str] = field(default_factory=list)

    async def get(self, _kind: str, _name: str, *, namespace: str = "") -> Object | None:
        return await self._request("get", self.board.get)

    async def create(self, manifest: Object) -> Object:
        return await self._request("create", lambda: self.board.create(manifest))

    async def replace(self, manifest: Object) -> Object:
        return await self._request("replace", lambda: self.board.replace(manifest))

    async def _request(self, name: str, act: Callable[[], Any]) -> Any:
        self.requests.append(name)
        if self.away:
            await self.time.sleep(REQUEST_SECONDS)
            raise Transient("away")
        up, down = self.delays()
        answer = asyncio.ensure_future(self._act_after(up, act))
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear it
        if up + down > REQUEST_SECONDS:
            await self.time.sleep(REQUEST_SECONDS)
            raise TimeoutError
        try:
            return await answer
        finally:
            await self.time.sleep(down)

    async def _act_after(self, up: float, act: Callable[[], Any]) -> Any:
        await self.time.sleep(up)
        return act()


def candidate(api: Api, name: str, **options: Any) -> Lease:
    given = {"sleep": api.time.sleep, **options}
    return Lease(api, "system", "operator", name, clock=api.time.clock, wall=api.time.clock, **given)


def play(scenario: Callable[[VirtualTime, Board], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(VirtualTime(), Board())
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_the_first_replica_leads_at_once_and_continues_leading() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        lease = candidate(Api(board, time), "a")
        with pytest.raises(LeaseLost):
            lease.write_deadline()
        holding = asyncio.ensure_future(lead(lease))
        await time.run(300)
        assert lease.leads
        assert not holding.done()
        assert board.lease is not None
        assert board.lease["spec"]["holderIdentity"] == "a"
        assert board.lease["spec"]["leaseTransitions"] == 0

    play(scenario)


async def lead(lease: Lease) -> None:
    await lease.acquire()
    await lease.hold()


def test_a_second_replica_waits_and_leads_when_the_first_has_died() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        first, second = candidate(Api(board, time), "a"), candidate(Api(board, time), "b")
        leading = asyncio.ensure_future(lead(first))
        await time.run(1)
        waiting = asyncio.ensure_future(lead(second))
        await time.run(60)
        assert (first.leads, second.leads) == (True, False)
        leading.cancel()
        died = time.now
        while not second.leads:
            await time.run(0.5)
            assert time.now - died < 30
        assert time.now - died <= DURATION_SECONDS + 2 + 2 + 0.5
        assert not first.leads
        assert board.lease is not None
        assert board.lease["spec"]["leaseTransitions"] == 1
        waiting.cancel()

    play(scenario)


def test_a_lease_that_is_released_is_taken_at_the_next_look() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        first, second = candidate(Api(board, time), "a"), candidate(Api(board, time), "b")
        leading = asyncio.ensure_future(lead(first))
        await time.run(5)
        waiting = asyncio.ensure_future(lead(second))
        await time.run(5)
        leading.cancel()
        releasing = asyncio.ensure_future(first.release())
        await time.run(2.5)
        assert releasing.done()
        assert (first.leads, second.leads) == (False, True)
        with pytest.raises(LeaseLost):
            first.write_deadline()
        waiting.cancel()

    play(scenario)


async def crash_while_it_leads(time: VirtualTime, board: Board, identity: str) -> None:
    """A leader that renews once more and dies without giving the Lease back."""
    leading = asyncio.ensure_future(lead(candidate(Api(board, time), identity)))
    await time.run(3)
    leading.cancel()


SUCCESSORS = {
    "the same pod, restarted": ("pod_uid-1_aaaa", "pod_uid-1_bbbb", "uid-1", True),
    "another pod": ("pod-a_uid-1_aaaa", "pod-b_uid-2_bbbb", "uid-2", False),
    "a new pod of the same name": ("pod_uid-1_aaaa", "pod_uid-2_bbbb", "uid-2", False),
    "a pod whose uid begins alike": ("pod_uid-10_aaaa", "pod_uid-1_bbbb", "uid-1", False),
    "two processes of one host, outside a pod": ("host_aaaa", "host_bbbb", "", False),
}


@pytest.mark.parametrize("case", SUCCESSORS)
def test_only_the_lease_of_our_own_pods_former_process_is_taken_at_once(case: str) -> None:
    former, ours, pod, at_once = SUCCESSORS[case]

    async def scenario(time: VirtualTime, board: Board) -> None:
        await crash_while_it_leads(time, board, former)
        lease = candidate(Api(board, time), ours, pod=pod)
        leading = asyncio.ensure_future(lead(lease))
        await time.run(1)
        assert lease.leads is at_once
        await time.run(DURATION_SECONDS + 3)
        assert lease.leads
        leading.cancel()

    play(scenario)


def test_a_replica_follows_while_it_sees_another_renew_the_lease() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        leader, api = candidate(Api(board, time), "a"), Api(board, time)
        follower = candidate(api, "b")
        leading = asyncio.ensure_future(lead(leader))
        await time.run(1)
        waiting = asyncio.ensure_future(follower.acquire())
        await time.run(0)
        assert not follower.follows, "one look does not tell a live holder from a dead one"
        await time.run(5)
        assert follower.follows
        assert not leader.follows
        leading.cancel()
        await time.run(DURATION_SECONDS - 3)
        assert follower.follows, "a leader that is late, or a server that is away for a moment, changes nothing"
        await time.run(6)
        assert waiting.done()
        assert not follower.follows, "it leads"

    play(scenario)


def test_a_replica_that_cannot_read_the_lease_does_not_follow() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        leading = asyncio.ensure_future(lead(candidate(Api(board, time), "a")))
        api = Api(board, time)
        follower = candidate(api, "b")
        waiting = asyncio.ensure_future(follower.acquire())
        await time.run(7)
        assert follower.follows
        api.away = True
        await time.run(DURATION_SECONDS + 3)
        assert not follower.follows
        assert follower.problem == "away"
        api.away = False
        await time.run(7)
        assert follower.follows
        assert not follower.problem
        leading.cancel()
        waiting.cancel()

    play(scenario)


def test_replicas_that_all_die_as_they_take_the_lead_never_follow() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        followed = []
        for life in range(6):
            lease = candidate(Api(board, time), f"pod-{life}")
            taking = asyncio.ensure_future(lease.acquire())
            while not taking.done():
                await time.run(0.5)
                followed.append(lease.follows)
        assert len(followed) > 5 * 2 * DURATION_SECONDS
        assert not any(followed)

    play(scenario)


def test_releasing_what_is_not_held_asks_nothing() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        api = Api(board, time)
        await candidate(api, "a").release()
        assert api.requests == []

    play(scenario)


def test_a_leader_without_a_server_stops_writing_before_another_may_lead() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        api = Api(board, time)
        lease = candidate(api, "a")
        holding = asyncio.ensure_future(lead(lease))
        await time.run(6)
        api.away = True
        await time.run(DEADLINE_SECONDS + 3 * REQUEST_SECONDS)
        assert isinstance(holding.exception(), LeaseLost)
        assert not lease.leads

    play(scenario)


def test_a_hiccup_of_the_server_costs_nothing() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        api = Api(board, time)
        lease = candidate(api, "a")
        holding = asyncio.ensure_future(lead(lease))
        await time.run(6)
        api.away = True
        await time.run(5)
        api.away = False
        await time.run(60)
        assert lease.leads
        assert not holding.done()

    play(scenario)


def test_a_leader_that_was_stopped_past_its_lease_sends_nothing_when_it_wakes() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        pause = [0.0]

        async def sleep(seconds: float) -> None:
            await time.sleep(seconds + pause[0])

        api = Api(board, time)
        lease = candidate(api, "a", sleep=sleep)
        holding = asyncio.ensure_future(lead(lease))
        await time.run(5)
        pause[0] = 60.0
        await time.run(10)
        asked = len(api.requests)
        await time.run(100)
        assert isinstance(holding.exception(), LeaseLost)
        assert len(api.requests) == asked

    play(scenario)


def test_a_leader_whose_lease_was_taken_or_deleted_knows_at_the_next_renewal() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        lease = candidate(Api(board, time), "a")
        holding = asyncio.ensure_future(lead(lease))
        await time.run(5)
        board.lease = None
        await time.run(2.5)
        assert isinstance(holding.exception(), LeaseLost)

    play(scenario)


def test_a_renewal_whose_answer_was_lost_is_still_ours() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        delays = [(0.0, 0.0)]
        api = Api(board, time, delays=lambda: delays[0])
        lease = candidate(api, "a")
        holding = asyncio.ensure_future(lead(lease))
        await time.run(5)
        delays[0] = (0.0, REQUEST_SECONDS + 1)
        await time.run(3)
        delays[0] = (0.0, 0.0)
        await time.run(60)
        assert lease.leads
        assert not holding.done()

    play(scenario)


def test_a_write_may_take_no_longer_than_until_another_may_lead() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        lease = candidate(Api(board, time), "a")
        await_lead = asyncio.ensure_future(lease.acquire())
        await time.run(0)
        assert await_lead.done()
        renewed = time.now
        for age in (0.0, 5.0, DEADLINE_SECONDS - 0.01):
            time.now = renewed + age
            assert time.now + lease.write_deadline() < renewed + DURATION_SECONDS
        time.now = renewed + DEADLINE_SECONDS
        with pytest.raises(LeaseLost):
            lease.write_deadline()

    play(scenario)


def test_a_renewal_counts_from_its_request_and_not_from_its_answer() -> None:
    async def scenario(time: VirtualTime, board: Board) -> None:
        asked = time.now
        lease = candidate(Api(board, time, delays=lambda: (0.0, 1.9)), "a")
        taking = asyncio.ensure_future(lease.acquire())
        await time.run(5)
        assert taking.done()
        assert time.now + lease.write_deadline() <= asked + 1.9 + DURATION_SECONDS

    play(scenario)


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # a seed has no smaller one
@given(seed=st.integers(0, 2**32), trouble=st.floats(0, 0.5))
def test_writes_of_two_replicas_never_overlap(seed: int, trouble: float) -> None:
    """Three replicas, each restarted when it loses the lead; every write is an interval in which it may land."""
    chance = random.Random(seed)
    writes: list[tuple[str, float, float]] = []

    def delays() -> tuple[float, float]:
        if chance.random() < trouble:
            return chance.uniform(0, 8), chance.uniform(0, 8)
        return chance.uniform(0, 0.1), chance.uniform(0, 0.1)

    async def live(time: VirtualTime, board: Board, name: str) -> None:
        async def sleep(seconds: float) -> None:
            pause = chance.uniform(0, 40) if chance.random() < trouble / 4 else 0.0
            await time.sleep(seconds + pause)

        async def write(lease: Lease) -> None:
            while True:
                await sleep(chance.uniform(0.2, 2))
                begun, seconds = time.now, lease.write_deadline()
                assert seconds > 0
                writes.append((lease.identity, begun, begun + seconds))

        for life in range(100):
            api = Api(board, time, delays=delays, away=False)
            lease = candidate(api, f"{name}{life}", sleep=sleep)
            await lease.acquire()
            writing = asyncio.ensure_future(write(lease))
            holding = asyncio.ensure_future(lease.hold())
            leaving = asyncio.ensure_future(time.sleep(chance.uniform(10, 300)))
            await asyncio.wait({writing, holding, leaving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (writing, holding, leaving):
                task.cancel()
            outcomes = await asyncio.gather(writing, holding, leaving, return_exceptions=True)
            assert not [one for one in outcomes if isinstance(one, AssertionError)]
            if chance.random() < 0.5:  # an orderly end: every write has ended before
                for index, (who, begun, ended) in enumerate(writes):
                    if who == lease.identity:
                        writes[index] = (who, begun, min(ended, time.now))
                await lease.release()

    async def scenario(time: VirtualTime, board: Board) -> None:
        lives = [asyncio.ensure_future(live(time, board, name)) for name in "abc"]
        await time.run(400)
        for life in lives:
            life.cancel()
        outcomes = await asyncio.gather(*lives, return_exceptions=True)
        assert {type(one) for one in outcomes} == {asyncio.CancelledError}

    play(scenario)
    assert writes, "somebody leads"
    writes.sort(key=lambda write: write[1])
    latest: dict[str, float] = {}
    for name, begun, ended in writes:
        for other, end in latest.items():
            assert other == name or end <= begun, f"{other} may write until {end}, and {name} writes at {begun}"
        latest[name] = max(ended, latest.get(name, 0.0))
