"""The controller: whole lives of jobs against an API server in memory, and what failures of each kind lead to."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from kubedistill.chain import CHAIN, STAGES
from kubedistill.contract import StageProgress
from kubedistill.logs import SUBJECT, JsonFormatter
from kubedistill.v1alpha1 import Status
from kubedistill_operator.cluster.api_errors import LeaseLost
from kubedistill_operator.job import Job
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Deletion, Event, Plan, StopRequest
from kubedistill_operator.telemetry.logs import subject
from support.controller_harness import AT, KEY, SETTINGS, ControllerHarness, finish_stage, play
from support.fake_api import FakeApi, refusal
from support.messages import CheckMessage
from support.operator_objects import DISTILLATIONS, EVENTS, JOBS, MAPS, PODS, RAYJOBS, at_stage, channel, child

Object = dict[str, Any]


def test_a_job_lives_from_apply_to_success_and_then_rests(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        stages = []
        for _ in CHAIN:
            stages.append(finish_stage(harness.api))
            harness.controller.queue.add(KEY)
            await harness.settle()
            await harness.wait(40)
        assert stages == list(STAGES)
        job = harness.job()
        assert job.status.phase == "Succeeded"
        assert job.status.result is not None
        assert job.status.result.distilled_accuracy == 0.8
        reasons = [one["reason"] for place, one in harness.api.objects.items() if place[0] == EVENTS]
        assert reasons.count("StageSucceeded") == len(CHAIN)
        await harness.wait(2000)
        assert (harness.count(RAYJOBS), harness.count(JOBS)) == (0, 0), "children are kept for a while only"
        harness.controller.queue.add(KEY)
        await harness.settle()
        harness.api.requests.clear()
        harness.controller.resync(KEY)
        await harness.wait(3600)
        assert harness.api.requests == [], "a job that is over asks nothing any more"

    play(scenario, resource)


def test_p3_a_job_that_a_finalizer_holds_stops_and_then_rests(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        finish_stage(harness.api)
        harness.controller.queue.add(KEY)
        await harness.settle()
        await harness.wait(40)
        assert harness.job().status.phase == "Generating"
        stored = harness.api.find(DISTILLATIONS, "support") or {}
        held = {"deletionTimestamp": AT, "finalizers": ["example.com/block"]}
        harness.api.put({**stored, "metadata": {**stored["metadata"], **held}}, collection=DISTILLATIONS)
        harness.controller.queue.add(KEY)
        await harness.settle()
        (rayjob,) = [one for place, one in harness.api.objects.items() if place[0] == RAYJOBS]
        channel = harness.api.find(MAPS, f"{rayjob['metadata']['name']}-out") or {}
        assert harness.job().status.phase == "Deleting"
        assert channel["data"].get("stop") == "true"
        await harness.wait(61)
        await harness.wait(6)
        assert (harness.count(RAYJOBS), harness.count(JOBS)) == (0, 0)
        job = harness.job()
        assert (job.status.phase, job.finalizers) == ("Deleting", ("example.com/block",))
        harness.controller.resync(KEY)
        await harness.wait(600)
        harness.api.requests.clear()
        harness.controller.resync(KEY)
        await harness.wait(3600)
        assert harness.api.requests == [], "a job that is held asks nothing any more"

    play(scenario, resource)


def test_a_job_that_is_gone_is_forgotten(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert len(harness.controller.cache) == 1
        harness.api.objects.clear()
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert len(harness.controller.cache) == 0
        harness.api.requests.clear()
        await harness.wait(10_000)
        assert harness.api.requests == []

    play(scenario, resource)


def test_room_is_not_given_away_twice(resource: Object) -> None:
    settings = SETTINGS.model_copy(update={"max_active_jobs_per_namespace": 1})

    async def scenario(harness: ControllerHarness) -> None:
        names = [f"job-{number}" for number in range(4)]
        for number, name in enumerate(names):
            metadata = {**resource["metadata"], "name": name, "uid": f"uid-of-{name}"}
            metadata["creationTimestamp"] = f"2026-03-01T12:00:0{number}Z"
            harness.api.put({**resource, "metadata": metadata}, collection=DISTILLATIONS)
            harness.controller.queue.add(("team-a", name))
        work = asyncio.create_task(harness.controller.run(workers=4))
        async with asyncio.timeout(30):
            while sorted(str(harness.job(name).status.phase) for name in names) != ["Preparing"] + ["Queued"] * 3:
                await asyncio.sleep(0.01)
        assert harness.count(JOBS) <= 1
        first = next(name for name in names if harness.job(name).status.phase == "Preparing")
        del harness.api.objects[DISTILLATIONS, "team-a", first]
        harness.controller.queue.add(("team-a", first))
        others = [name for name in names if name != first]
        async with asyncio.timeout(30):
            while not (begun := [name for name in others if harness.job(name).status.stages[0].state == "Starting"]):
                await asyncio.sleep(0.01)
        assert len(begun) == 1
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    play(scenario, resource, settings=settings, clock=time.time)


def test_a_job_that_somebody_else_wrote_is_reconciled_again(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        async def before(method: str, _path: str) -> web.Response | None:
            if method == "PUT":
                harness.api.before = None
                return refusal(409, "Conflict", "changed")
            return None

        harness.api.before = before
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert harness.job().status.run is None
        await harness.wait(1.5)
        assert harness.job().status.run is not None
        assert errors(harness) == 1

    play(scenario, resource)


def errors(harness: ControllerHarness) -> float:
    found = harness.controller.metrics.registry.get_sample_value(
        "controller_runtime_reconcile_errors_total", {"controller": "distillationjob"}
    )
    return found or 0.0


@pytest.mark.parametrize(
    ("message", "reason"),
    [("exceeded quota: team", "QuotaExceeded"), ("ValidatingAdmissionPolicy 'x' denied request", "WriteRefused")],
)
def test_a_creation_that_is_refused_is_shown_reported_once_and_retried(
    message: str, reason: str, resource: Object
) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        async def before(method: str, path: str) -> web.Response | None:
            return refusal(403, "Forbidden", message) if (method, path[-5:]) == ("POST", "/jobs") else None

        harness.api.before = before
        harness.controller.queue.add(KEY)
        await harness.settle()
        shown = next(one for one in harness.job().status.conditions if one.type == "Progressing")
        assert (shown.status, shown.reason) == ("False", reason)
        assert message in shown.message
        version = harness.job().resource_version
        harness.api.requests.clear()
        for _ in range(60):
            await harness.wait(1)
        assert len([one for one in harness.api.writes() if one[1].endswith("/jobs")]) == 4, "every 15 seconds at first"
        assert harness.job().resource_version == version
        reasons = [one["reason"] for place, one in harness.api.objects.items() if place[0] == EVENTS]
        assert reasons.count("Waiting") == 1
        assert errors(harness) == 0
        harness.api.before = None
        await harness.wait(20)
        assert harness.count(JOBS) == 1, "it continues when the cause is gone"
        await harness.wait(6)
        shown = next(one for one in harness.job().status.conditions if one.type == "Progressing")
        assert (shown.status, shown.reason) == ("True", "Prepare")

    play(scenario, resource)


def test_a_status_that_is_refused_is_reported_once_and_retried_less_and_less_often(
    resource: Object, check_message: CheckMessage
) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        async def before(method: str, _path: str) -> web.Response | None:
            return refusal(403, "Forbidden", "the policy says no") if method == "PUT" else None

        harness.api.before = before
        harness.controller.queue.add(KEY)
        await harness.settle()
        tries = errors(harness)
        for _ in range(60):
            await harness.wait(1)
        assert 4 <= errors(harness) - tries <= 7
        told = [
            one for place, one in harness.api.objects.items() if place[0] == EVENTS and one["reason"] == "WriteRefused"
        ]
        assert len(told) == 1
        check_message(told[0]["message"])

    play(scenario, resource)


def test_a_bug_is_loud_and_stops_nobody_else(resource: Object, caplog: pytest.LogCaptureFixture) -> None:
    def reconcile(job: Job, *_: Any, **__: Any) -> Plan:
        if job.name == "support":
            raise ZeroDivisionError("a bug")
        return Plan(status=Status(phase="Pending", message="fine"))

    async def scenario(harness: ControllerHarness) -> None:
        other = {**resource, "metadata": {**resource["metadata"], "name": "other", "uid": "other"}}
        harness.api.put(other, collection=DISTILLATIONS)
        for name in ("support", "other"):
            harness.controller.queue.add(("team-a", name))
        await harness.settle()
        assert harness.job("other").status.message == "fine"
        for _ in range(20):
            await harness.wait(1)
        assert errors(harness) == 5, "after 1, 2, 4 and 8 seconds"

    with caplog.at_level(logging.ERROR):
        play(scenario, resource, reconcile=reconcile)
    assert "ZeroDivisionError: a bug" in caplog.text
    assert "reconciling team-a/support failed" in caplog.text


def test_what_is_said_of_a_failure_names_its_attempt(resource: Object) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(subject))

    async def scenario(harness: ControllerHarness) -> None:
        steady(harness.api, resource)
        harness.controller.queue.add(KEY)
        await harness.settle()

    def reconcile(*_: Any, **__: Any) -> Plan:
        raise ZeroDivisionError("a bug")

    logging.getLogger().addHandler(handler)
    try:
        play(scenario, resource, reconcile=reconcile)
    finally:
        logging.getLogger().removeHandler(handler)
    (line,) = (json.loads(text) for text in stream.getvalue().splitlines() if "failed" in text)
    assert [line[key] for key in SUBJECT] == ["team-a", "support", resource["metadata"]["uid"], "Train", 1]


def test_a_server_that_is_away_is_asked_when_it_wants(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        async def before(_method: str, _path: str) -> web.Response:
            return refusal(429, "TooManyRequests", "slow down", **{"Retry-After": "20"})

        harness.api.before = before
        harness.controller.queue.add(KEY)
        await harness.settle()
        harness.api.requests.clear()
        await harness.wait(19)
        assert harness.api.requests == []
        await harness.wait(2)
        assert harness.api.requests

    play(scenario, resource)


def test_a_replica_that_lost_its_lease_stops(resource: Object) -> None:
    def write_deadline() -> float:
        raise LeaseLost("another replica may lead")

    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(10):
                await harness.controller.run(workers=2)
        assert caught.group_contains(LeaseLost)
        assert not harness.api.writes()

    play(scenario, resource, write_deadline=write_deadline)


def steady(api: FakeApi, resource: Object) -> Job:
    """Return a driver running Train, whose progress alone is left to copy."""
    job = at_stage(resource, "Train")
    api.put(child(resource, "Train", jobDeploymentStatus="Running"), collection=RAYJOBS)
    api.put(channel(resource, "Train", starts="1"), collection=MAPS)
    stored = {**resource, "status": json.loads(job.status.model_dump_json(by_alias=True, exclude_none=True))}
    api.put(stored, collection=DISTILLATIONS)
    return job


def test_progress_of_a_driver_reaches_the_metrics_without_a_write(resource: Object) -> None:
    progress = StageProgress(at=AT, state="Working", done=3, total=9, unit="steps", figures={"loss": 0.25})

    async def scenario(harness: ControllerHarness) -> None:
        steady(harness.api, resource)
        told = {"progress.json": progress.to_json()}
        out = channel(resource, "Train", starts="1")
        harness.api.put(out | {"data": out["data"] | told}, collection=MAPS)
        harness.controller.queue.add(KEY)
        await harness.settle()
        work = harness.controller.cache.driver_metrics(KEY)
        assert work is not None
        assert work.values == {"train_loss": 0.25}
        harness.api.put(out, collection=MAPS)
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert harness.controller.cache.driver_metrics(KEY) is None
        assert not harness.api.writes()

    play(scenario, resource, reconcile=lambda *_, **__: Plan())


MAP = channel({"metadata": {"name": "support", "namespace": "team-a", "uid": "u"}}, "Train", attempt=7)
PLANS: dict[str, tuple[Callable[[Job], Plan], bool]] = {
    "nothing": (lambda job: Plan(), False),
    "progress": (lambda job: Plan(status=job.status.model_copy(update={"message": "on"})), False),
    "a creation": (lambda job: Plan(create=(MAP,)), True),
    "a deletion": (lambda job: Plan(delete=(Deletion("RayJob", "x", "u"),)), True),
    "a request to stop": (lambda job: Plan(stop=StopRequest("x-out")), True),
    "an event": (lambda job: Plan(events=(Event("Something", "happened"),)), False),
}


@pytest.mark.parametrize("case", PLANS)
def test_nothing_is_made_or_deleted_on_a_short_look(case: str, resource: Object) -> None:
    make_plan, thorough = PLANS[case]
    seen: list[Observed] = []

    def reconcile(job: Job, observed: Observed, **_: Any) -> Plan:
        seen.append(observed)
        return make_plan(job)

    async def scenario(harness: ControllerHarness) -> None:
        steady(harness.api, resource)
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert len(seen) == 1, "the first look at a job is thorough"
        harness.api.requests.clear()
        harness.controller.queue.add(KEY)
        await harness.settle()
        listed = [path for method, path in harness.api.requests if method == "GET" and path.endswith("/pods")]
        assert bool(listed) == thorough
        assert len(seen) == 1 + 1 + thorough
        harness.api.requests.clear()
        harness.controller.resync(KEY)
        await harness.settle()
        assert [path for _, path in harness.api.requests if path.endswith("/pods")], "a resync looks at everything"

    play(scenario, resource, reconcile=reconcile)


def test_a_job_that_does_not_come_to_rest_has_to_wait(resource: Object, caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def reconcile(*_: Any, **__: Any) -> Plan:
        asked.append(True)
        return Plan(requeue_after=0, why=("round and round",))

    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert len(asked) == 30
        await harness.wait(31)
        assert len(asked) == 31

    with caplog.at_level(logging.WARNING):
        play(scenario, resource, reconcile=reconcile)
    assert "the job does not settle: round and round" in caplog.text


def test_children_whose_deletion_was_not_reported_are_found_missing(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        over = {**resource, "status": {"phase": "Failed", "observedGeneration": 3, "run": json.loads('{"id": "one"}')}}
        over["status"]["run"] |= {"digest": "d", "startedAt": AT}
        harness.api.put(over, collection=DISTILLATIONS)
        harness.controller.cache.add_child(KEY, "ghost")
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert not harness.controller.cache.needs_reconcile(KEY)

    play(scenario, resource, reconcile=lambda *_, **__: Plan())


def test_a_reconcile_that_hangs_can_be_told(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        hanging = asyncio.Event()

        async def before(_method: str, _path: str) -> None:
            await hanging.wait()

        harness.api.before = before
        harness.controller.queue.add(KEY)
        work = asyncio.create_task(harness.controller.run(workers=1))
        while not harness.api.requests:
            await asyncio.sleep(0.01)
        harness.now[0] += 500
        assert harness.controller.longest_reconcile() == 500
        work.cancel()
        hanging.set()
        await asyncio.gather(work, return_exceptions=True)
        assert harness.controller.longest_reconcile() == 0

    play(scenario, resource)


def test_a_drain_completes_running_work_and_begins_no_other(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        going_on = asyncio.Event()

        async def before(_method: str, _path: str) -> None:
            await going_on.wait()

        harness.api.before = before
        harness.controller.queue.add(KEY)
        work = asyncio.create_task(harness.controller.run(workers=2))
        while not harness.api.requests:
            await asyncio.sleep(0.01)
        draining = asyncio.create_task(harness.controller.drain(30))
        await asyncio.sleep(0.05)
        assert not draining.done()
        harness.controller.queue.add(("team-a", "other"))
        going_on.set()
        await draining
        assert harness.job().status.run is not None
        assert not [path for _, path in harness.api.requests if path.endswith("/other")]
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    play(scenario, resource, clock=time.time)


def test_pods_of_an_earlier_cluster_keep_the_next_one_waiting(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        for done in ("Prepare", "Generate"):
            assert finish_stage(harness.api) == done
            if done == "Generate":
                cluster = next(one for place, one in harness.api.objects.items() if place[0] == RAYJOBS)
                pod = {"metadata": {**cluster["metadata"], "name": "lingers"}, "status": {"phase": "Running"}}
                harness.api.put(pod, collection=PODS)
            harness.controller.queue.add(KEY)
            await harness.settle()
        assert finish_stage(harness.api) == "Curate", "which needs nothing of it"
        await harness.wait(10)
        assert harness.job().status.stages[2].state == "Succeeded"
        assert harness.count(RAYJOBS) == 1
        harness.api.put(pod | {"status": {"phase": "Succeeded"}}, collection=PODS)
        await harness.wait(10)
        assert harness.count(RAYJOBS) == 2

    play(scenario, resource)


def test_a_later_job_of_the_same_name_starts_at_once_and_inherits_nothing(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        first = harness.job()
        harness.api.put({**resource, "metadata": {**resource["metadata"], "uid": "later"}}, collection=DISTILLATIONS)
        harness.controller.queue.add(KEY)
        await harness.settle()
        second = harness.job()
        assert second.status.stages[0].child != first.status.stages[0].child
        assert harness.count(JOBS) == 2, "the garbage collector takes the earlier one"
        accounts = [one["metadata"] for place, one in harness.api.objects.items() if place[0] == "v1/serviceaccounts"]
        assert {one["ownerReferences"][0]["uid"] for one in accounts} == {first.uid, "later"}

    play(scenario, resource)


BUSY = {
    "conflict": lambda: refusal(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"),
    "too many requests": lambda: refusal(429, "TooManyRequests", "try later", **{"Retry-After": "1"}),
    "request timeout": lambda: refusal(408, "Timeout", "slow"),
    "a webhook that is away": lambda: refusal(
        500, "InternalError", "failed calling webhook: context deadline exceeded"
    ),
    "unavailable": lambda: refusal(503, "ServiceUnavailable", "apiserver is shutting down"),
    "gateway": lambda: web.Response(status=504, text="<html>"),
    "server timeout": lambda: refusal(504, "Timeout", "request did not complete within requested timeout"),
    "an expired token": lambda: refusal(401, "Unauthorized", "Unauthorized"),
}


@pytest.mark.parametrize("answer", BUSY)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_w8_an_api_server_in_trouble_ends_no_job_however_long_it_lasts(
    method: str, answer: str, resource: Object
) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 60

    async def scenario(harness: ControllerHarness) -> None:
        async def before(asked: str, path: str) -> web.Response | None:
            return BUSY[answer]() if asked == method and not path.endswith("/events") else None

        harness.api.before = before
        harness.controller.queue.add(KEY)
        for _ in range(12):
            await harness.wait(300)
        assert harness.job().status.phase != "Failed"
        harness.api.before = None
        await harness.wait(600)
        await harness.wait(30)
        assert harness.job().status.phase == "Preparing", "what it waits for now has begun just now"
        assert harness.job().status.stages[0].attempt == 1
        assert harness.count(JOBS) == 1

    play(scenario, resource)


AWAY = 'failed calling webhook "validate.example.com": dial tcp 10.96.3.4:443: connect: connection refused'


@pytest.mark.parametrize("kind", ["configmaps", "serviceaccounts", "jobs", "roles"])
def test_w15_a_write_that_the_api_server_cannot_accept_now_is_reported_and_retried(kind: str, resource: Object) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 60

    async def scenario(harness: ControllerHarness) -> None:
        async def before(method: str, path: str) -> web.Response | None:
            return refusal(500, "InternalError", AWAY) if (method, path.split("/")[-1]) == ("POST", kind) else None

        harness.api.before = before
        harness.controller.queue.add(KEY)
        await harness.settle()
        assert "Progressing" not in harness.shown(status="False"), "most troubles of an API server pass in seconds"
        for _ in range(15):
            await harness.wait(2)
        assert harness.shown(status="False")["Progressing"] == "WriteDelayed"
        assert AWAY in harness.job().status.message
        for _ in range(20):
            await harness.wait(300)
        assert harness.job().status.phase == "Preparing"
        assert harness.told().count("Waiting") == 1
        harness.api.before = None
        await harness.wait(300)
        await harness.wait(30)
        assert "Progressing" not in harness.shown(status="False")
        assert harness.job().status.stages[0].attempt == 1

    play(scenario, resource)


def test_w15_a_refusal_after_such_a_delay_has_its_whole_timeout(resource: Object) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 600

    async def scenario(harness: ControllerHarness) -> None:
        answers = [(500, "InternalError", AWAY), (403, "Forbidden", "the policy says no")]

        async def before(method: str, path: str) -> web.Response | None:
            if (method, path.split("/")[-1]) != ("POST", "jobs"):
                return None
            return refusal(*answers[0])

        harness.api.before = before
        harness.controller.queue.add(KEY)
        for _ in range(12):
            await harness.wait(300)
        assert harness.shown(status="False")["Progressing"] == "WriteDelayed"
        del answers[0]
        await harness.wait(300)
        assert harness.shown(status="False")["Progressing"] == "WriteRefused"
        for _ in range(3):
            await harness.wait(150)
        assert harness.job().status.phase == "Preparing"
        for _ in range(4):
            await harness.wait(150)
        assert harness.job().status.phase == "Failed"

    play(scenario, resource)
