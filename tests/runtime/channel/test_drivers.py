"""Several drivers of one attempt, in any order, with lost replies and changes in between: one at a time is heard."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kubedistill.contract import StageJob, StageProgress, StageResult
from kubedistill.errors import ClaimLost
from kubedistill_runtime.channel.api_server import ApiServer
from kubedistill_runtime.channel.claiming import claim_channel
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.storage.store import Store
from support.channel_fixtures import JOB_UID, TOKEN, Time
from support.config_map_server import NAME, ConfigMapServer, Fault, serve_config_map

TIME = "2026-01-01T00:00:00.000Z"
PLACES = st.integers(0, 2)
FAULTS = st.sampled_from(
    [
        Fault(reset=True), Fault(reset=True, applied=True), Fault(status=500), Fault(status=500, applied=True),
        Fault(status=429, headers={"Retry-After": "3"}), Fault(body=b'{"meta', applied=True), Fault(body=b"<html>"),
    ]
)  # fmt: skip


class Drivers(RuleBasedStateMachine):
    """Three places in which drivers live one after another, and one ConfigMap that all of them want."""

    def __init__(self, server: ConfigMapServer, job: StageJob, store: Store) -> None:
        super().__init__()
        self.server, self.job, self.store, self.time = server, job, store, Time()
        server.data, server.version = {"owner": TOKEN, "starts": "0"}, 1
        server.meanwhile = None
        server.calls.clear()
        server.faults.clear()
        self.api = ApiServer("127.0.0.1", server.port, server.account, seconds=5)
        self.places: list[ConfigMapChannel | None] = [None, None, None]
        self.born, self.steps = 0, 0

    @rule(place=PLACES)
    def start(self, place: int) -> None:
        self.born += 1
        self.places[place] = None
        try:
            self.places[place] = claim_channel(
                self.job,
                api=self.api,
                name=NAME,
                driver=f"driver-{self.born}",
                store=self.store,
                clock=self.time.clock,
                sleep=self.time.sleep,
            )
        except ClaimLost:
            assert "result.json" in self.server.data, "only a result keeps a new driver out"

    @rule(place=PLACES)
    def work(self, place: int) -> None:
        self.steps += 1
        driver, done = self.driver(place), self.steps
        self.act(
            place,
            lambda channel: channel.publish_progress(
                StageProgress(at=TIME, state="Working", done=done, message=driver)
            ),
        )

    @rule(place=PLACES)
    def end(self, place: int) -> None:
        driver = self.driver(place)
        told = StageResult(driver=driver, outcome="Succeeded", started_at=TIME, ended_at=TIME)
        if self.act(place, lambda channel: channel.publish_result(told)):
            assert json.loads(self.server.data["result.json"])["driver"] == driver
            self.places[place] = None

    @rule(place=PLACES)
    def look(self, place: int) -> None:
        self.act(place, lambda channel: channel.asked_to_stop())

    @rule(place=PLACES)
    def die(self, place: int) -> None:
        self.places[place] = None

    @rule(seconds=st.sampled_from([1.0, 5.0, 10.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds

    @rule(fault=FAULTS)
    def fail(self, fault: Fault) -> None:
        self.server.faults.append(fault)

    @rule(place=PLACES, what=st.sampled_from(["start", "work", "end"]))
    def interrupt(self, place: int, what: str) -> None:
        """Between the next patch's coming in and its being applied, another driver does something."""
        self.server.meanwhile = lambda: getattr(self, what)(place)

    def driver(self, place: int) -> str:
        channel = self.places[place]
        return channel.claim.partition(":")[2] if channel else ""

    def act(self, place: int, say: Callable[[ConfigMapChannel], object]) -> bool:
        """Let a living driver do something; returns whether it lives on."""
        channel = self.places[place]
        if channel is None:
            return False
        try:
            say(channel)
        except ClaimLost:
            assert self.server.data["owner"] != channel.claim
            self.places[place] = None
            return False
        return True

    @invariant()
    def only_the_last_claimant_writes(self) -> None:
        owner, starts, result = TOKEN, 0, None
        for patch in self.server.patches:
            values = {
                change["path"].removeprefix("/data/"): change["value"] for change in patch if change["op"] != "test"
            }
            if "starts" in values:
                assert int(values["starts"]) == starts + 1, "starts only grows, by one a claim"
                assert result is None, "an attempt that has its result is not claimed again"
                owner, starts = values["owner"], starts + 1
            if "progress.json" in values:
                assert f"{TOKEN}:{json.loads(values['progress.json'])['message']}" == owner
            if "result.json" in values:
                assert f"{TOKEN}:{json.loads(values['result.json'])['driver']}" == owner
                assert result in (None, values["result.json"]), "a result is never overwritten"
                result = values["result.json"]
        assert (self.server.data["owner"], self.server.data["starts"]) == (owner, str(starts))
        assert self.server.data.get("result.json") == result


@pytest.fixture(scope="module")
def shared(credentials: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfigMapServer]:
    with serve_config_map(credentials, tmp_path_factory.mktemp("drivers") / "account", {}, owner=JOB_UID) as server:
        yield server


def test_whatever_happens_only_the_last_claimant_is_heard_and_a_result_stays(
    shared: ConfigMapServer, job: StageJob, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    run_state_machine_as_test(
        lambda: Drivers(shared, job, store),
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
