"""GPU-seconds, held and idle, against counts by hand."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.gpu_usage import GpuUsage


@dataclass(frozen=True, slots=True)
class Hold:
    """At a time, so many GPUs are held."""

    at: float
    gpus: int


@dataclass(frozen=True, slots=True)
class Work:
    """At a time, a replica makes tokens, or with `replica` None, a training a step with all GPUs."""

    at: float
    replica: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    events: tuple[Hold | Work, ...]
    end: float
    held: float
    idle: float


def steps(*times: float) -> tuple[Work, ...]:
    return tuple(Work(at) for at in times)


CASES = {
    "nothing is held": Case((Work(3.0),), 60, held=0, idle=0),
    # 2 GPUs for 30 s, known after 5 s
    "known first, held since the start, without a step": Case((Hold(5, 2),), 30, held=60, idle=60),
    "a short start": Case((Hold(0, 2), *steps(9, 18)), 20, held=40, idle=0),
    # idle: 0 to 40, on both
    "a long start counts from its first second": Case((Hold(0, 2), *steps(40, 45)), 50, held=100, idle=80),
    # idle: 5 to 15, since 10 s are enough
    "a gap of 10 s": Case((Hold(0, 1), *steps(5, 15)), 16, held=16, idle=10),
    "a gap just shorter": Case((Hold(0, 1), *steps(5, 14.9)), 16, held=16, idle=0),
    "a gap that has not ended": Case((Hold(0, 1), *steps(5)), 25, held=25, idle=20),
    "a gap that may still be short": Case((Hold(0, 1), *steps(5)), 14, held=14, idle=0),
    # Replica 0 works each 8 s until 32; replica 1, of 2 GPUs, is loaded at 24 and works on: idle are 2 x 24
    "a replica that loads longer than another": Case(
        (Hold(0, 4), Work(8, 0, 2), Work(16, 0, 2), Work(24, 0, 2), Work(24, 1, 2), Work(32, 0, 2), Work(32, 1, 2)),
        32, held=128, idle=48,
    ),
    # Replica 1 stops at 10: idle are 2 x 30
    "a replica that hangs": Case(
        (Hold(0, 4), Work(5, 0, 2), Work(5, 1, 2), Work(10, 1, 2), *(Work(at, 0, 2) for at in range(10, 41, 5))),
        40, held=160, idle=60,
    ),
    # 4 GPUs for 20 s, then 2 for 20 s; the lost ones had worked 5 s ago
    "a node that is lost holds nothing": Case(
        (Hold(0, 4), Work(8, 0, 2), Work(15, 0, 2), Work(15, 1, 2), Work(20, 0, 2), Hold(20, 2), Work(28, 0, 2),
         Work(36, 0, 2)), 40, held=120, idle=2 * 15,
    ),
    # 2 GPUs for 60 s, 2 more from 30: those are idle from 30 to 50
    "a replica that comes later is held from then on": Case(
        (Hold(0, 2), *(Work(at, 0, 2) for at in range(5, 30, 5)), Hold(30, 4),
         *(Work(at, 0, 2) for at in range(30, 61, 5)), Work(50, 1, 2), Work(59, 1, 2)),
        60, held=180, idle=40,
    ),
    # all are lost for 10 s: 1 x 20 and 1 x 10, of which 10 s before the loss were idle
    "nothing is held for a while": Case((Hold(0, 1), Work(9), Hold(20, 0), Hold(30, 1), Work(35)), 40, 30, 11),
    # The teacher used 4, the student uses 1 from 10 on: 3 are idle from 5 on
    "a smaller engine follows": Case(
        (Hold(0, 4), Work(5, 0, 4), Work(10, 0, 1), Work(18, 0, 1), Work(26, 0, 1)), 30, held=120, idle=3 * 25
    ),
}  # fmt: skip


def play(events: tuple[Hold | Work, ...]) -> tuple[GpuUsage, list[tuple[float, float]], list[float]]:
    """Have the events happen, and return the counts after each of them."""
    time = [0.0]
    usage, counts = GpuUsage(lambda: time[0]), []
    for event in events:
        time[0] = event.at
        if isinstance(event, Hold):
            usage.hold(event.gpus)
        else:
            usage.work("training" if event.replica is None else event.replica, gpus=event.gpus)
        counts.append((usage.held_seconds(), usage.idle_seconds()))
    return usage, counts, time


@pytest.mark.parametrize("name", CASES)
def test_gpu_seconds_are_those_counted_by_hand(name: str) -> None:
    case = CASES[name]
    usage, _, time = play(case.events)
    time[0] = case.end
    assert usage.held_seconds() == pytest.approx(case.held)
    assert usage.idle_seconds() == pytest.approx(case.idle)


EVENTS = st.builds(Hold, at=st.floats(0, 30), gpus=st.integers(0, 5)) | st.builds(
    Work, at=st.floats(0, 30), replica=st.none() | st.integers(0, 2), gpus=st.integers(1, 3)
)


@given(st.lists(EVENTS, max_size=20))
def test_counts_never_fall_and_idle_ones_are_among_those_held(events: list[Hold | Work]) -> None:
    """Here `at` is the time since the event before."""
    at, placed = 0.0, []
    for event in events:
        at += event.at
        placed.append(Hold(at, event.gpus) if isinstance(event, Hold) else Work(at, event.replica, event.gpus))
    _, counts, _ = play(tuple(placed))
    for (held, idle), (held_then, idle_then) in zip([(0.0, 0.0), *counts], counts, strict=False):
        assert held <= held_then + 1e-9
        assert idle <= idle_then + 1e-9
        assert idle_then <= held_then + 1e-9
