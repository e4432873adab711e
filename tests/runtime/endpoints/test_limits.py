"""Limits of an endpoint: waits that it asks for, requests at a time, and the rate of requests and tokens."""

import asyncio
import time
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubedistill_runtime.endpoints.client import Client, open_client
from kubedistill_runtime.endpoints.limits import Bucket, Limits
from support.endpoint_calls import ASKED, KEY, SAMPLING, act_on, ask, endpoint_of, in_turn
from support.endpoint_server import EndpointServer, Reaction, echo, problem


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
        ({"retry-after": "9999"}, 120.0),
    ],
)
def test_retry_after_is_honored_up_to_a_limit(headers: dict[str, str], expected: float, server: EndpointServer) -> None:
    assert waits_for(server, headers) == pytest.approx([expected], rel=0.25)


def test_retry_after_may_be_a_date(server: EndpointServer) -> None:
    (waited,) = waits_for(server, {"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert 25 < waited < 40


@pytest.mark.parametrize("text", ["soon", "nan", "-3", "inf"])
def test_a_retry_after_that_is_no_time_does_no_harm(text: str, server: EndpointServer) -> None:
    (waited,) = waits_for(server, {"retry-after": text})
    assert 0 <= waited <= 0.5


def waits_for(server: EndpointServer, headers: dict[str, str]) -> list[float]:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def run() -> None:
        async with open_client(endpoint_of(server, retry_seconds=1000.0), key=KEY) as client:
            client.sleep = sleep
            await client.ask(ASKED, sampling=SAMPLING, seed=1)

    server.react = in_turn(Reaction(429, problem("slow down"), headers))
    asyncio.run(run())
    return waited


def test_no_more_requests_are_in_flight_than_allowed(server: EndpointServer) -> None:
    server.react = lambda one: replace(echo(one), seconds=0.1)
    ask(endpoint_of(server, max_in_flight=3), *map(str, range(12)))
    assert server.most_in_flight == 3


class Clock:
    """A clock that runs only by sleeping."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def take_all(bucket: Bucket, amounts: list[float], clock: Clock) -> list[float]:
    """Take amounts one after another, and return the time of each."""

    async def run() -> list[float]:
        times = []
        for amount in amounts:
            await bucket.take(amount)
            times.append(clock.now)
        return times

    return asyncio.run(run())


def test_a_bucket_gives_what_it_holds_at_once_and_the_rest_at_its_rate() -> None:
    clock = Clock()
    times = take_all(Bucket(60, clock, clock.sleep), [1.0] * 90, clock)
    assert times[:60] == [0.0] * 60
    assert times[60:] == pytest.approx(range(1, 31))


def test_more_than_a_bucket_holds_is_taken_from_a_full_one_and_paid_back() -> None:
    clock = Clock()
    assert take_all(Bucket(60, clock, clock.sleep), [150, 1, 60], clock) == pytest.approx([0, 91, 151])


@settings(max_examples=50)
@given(amounts=st.lists(st.floats(0, 100), max_size=40), used=st.floats(0, 1))
def test_a_bucket_never_gives_more_than_its_rate(amounts: list[float], used: float) -> None:
    clock = Clock()
    bucket = Bucket(100, clock, clock.sleep)

    async def run() -> None:
        total = 0.0
        for amount in amounts:
            await bucket.take(amount)
            bucket.correct(amount * used - amount)
            total += amount * used
            assert total <= 100 + clock.now * 100 / 60 + 1e-3

    asyncio.run(run())


@pytest.mark.parametrize("setting", ["requests_per_minute", "tokens_per_minute"])
def test_a_client_keeps_its_rate(setting: str, server: EndpointServer) -> None:
    clock = Clock()

    async def act(client: Client) -> None:
        client._limits = Limits(client.endpoint, clock=clock, sleep=clock.sleep)
        for _ in range(8):
            await client.ask(ASKED, sampling=SAMPLING, seed=1)

    act_on(endpoint_of(server, **{setting: 4 if setting == "requests_per_minute" else 40}), act)
    # Eight replies of 10 tokens; the estimate of each, 32 tokens for the reply alone, is corrected afterwards.
    assert 55 <= clock.now <= 120
