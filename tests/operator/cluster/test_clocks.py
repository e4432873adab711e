"""Clocks in the cluster: what other machines date is compared with nothing but itself."""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.server_clock import TOLERANCE_SECONDS, ServerClock
from kubedistill_operator.cluster.sightings import Sightings
from support.fake_api import FakeApi, serving

NOW = 1_800_000_000.0
"""The time of the API server."""


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


class Wall:
    """A clock of this machine that a test moves."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_a_clock_that_is_wrong_is_corrected_by_the_first_answer(skew: float, caplog: pytest.LogCaptureFixture) -> None:
    wall = Wall(NOW + skew)
    clock = ServerClock(wall)
    for _ in range(3):
        clock.note(date(NOW), began=wall())
        assert clock() == pytest.approx(NOW, abs=1)
    assert len(caplog.records) == (skew != 0)


@pytest.mark.parametrize("skew", [-TOLERANCE_SECONDS, -0.4, 0.4, TOLERANCE_SECONDS])
def test_small_differences_are_left_alone(skew: float) -> None:
    wall = Wall(NOW + skew)
    clock = ServerClock(wall)
    clock.note(date(NOW), began=wall())
    assert clock() == wall()


def test_a_slow_answer_proves_nothing_of_a_clock_that_is_right() -> None:
    wall = Wall(NOW)
    clock = ServerClock(wall)
    wall.seconds += 30
    for written in (NOW, NOW + 30):
        clock.note(date(written), began=NOW)
        assert clock() == wall()


def test_a_clock_that_is_set_while_we_run_changes_nothing() -> None:
    wall = Wall(NOW - 3600)
    clock = ServerClock(wall)
    clock.note(date(NOW), began=wall())
    wall.seconds = NOW + 60
    clock.note(date(NOW + 60), began=wall())
    assert clock() == pytest.approx(NOW + 60, abs=1)


@pytest.mark.parametrize("header", ["", "yesterday", "Sun, 99 Foo 2026 00:00:00 GMT", "12"])
def test_what_is_not_a_date_changes_nothing(header: str) -> None:
    clock = ServerClock(Wall(NOW))
    clock.note(header, began=NOW)
    assert clock() == NOW


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_client_takes_the_time_of_its_server(skew: float) -> None:
    async def play() -> float:
        async with (
            serving(FakeApi()) as api,
            Cluster(api.configuration, write_deadline=lambda: 10.0, wall=lambda: time.time() + skew) as cluster,
        ):
            await cluster.get("ConfigMap", "none", namespace="team-a")
            return cluster.clock()

    assert asyncio.run(play()) == pytest.approx(time.time(), abs=TOLERANCE_SECONDS)


def test_a_state_is_dated_by_when_it_was_first_seen() -> None:
    wall = Wall(NOW)
    sightings = Sightings(wall)
    seen = []
    for seconds, stamp in ((0, 7.0), (60, 7.0), (120, 9e9), (180, 9e9), (240, 7.0)):
        wall.seconds = NOW + seconds
        seen.append(sightings.since("node a", stamp) - NOW)
        assert sightings.since("node b", 7.0) == NOW
    assert seen == [0, 0, 120, 120, 240]


def test_an_event_that_was_not_seen_for_long_counts_as_new() -> None:
    wall = Wall(NOW)
    sightings = Sightings(wall)
    sightings.since("node a", 7.0)
    for hours in (1, 2, 3):
        wall.seconds = NOW + hours * 3601
        sightings.since("node b", 7.0)
    assert sightings.since("node a", 7.0) == wall.seconds
