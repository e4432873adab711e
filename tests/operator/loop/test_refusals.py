"""What the API server refuses and no check foresaw, by every way to say no: rows W8 and W17 of docs/behavior.md."""

from typing import Any

import pytest
from aiohttp import web

from kubedistill.chain import CHAIN
from support.controller_harness import AT, KEY, ControllerHarness, finish_stage, play
from support.fake_api import refusal
from support.messages import CheckMessage
from support.operator_objects import DISTILLATIONS, EVENTS, JOBS

Object = dict[str, Any]
SENTENCE = 'Job.batch "x" is invalid: spec.template.spec.containers[0].env[3].name: Invalid value: "a b"'
ANSWERS = {
    "400": (400, "BadRequest"),
    "403": (403, "Forbidden"),
    "405": (405, "MethodNotAllowed"),
    "413": (413, "RequestEntityTooLarge"),
    "415": (415, "UnsupportedMediaType"),
    "422": (422, "Invalid"),
}
MADE = ("configmaps", "serviceaccounts", "roles", "rolebindings", "jobs")
"""All that Prepare's attempt is made of; the frozen run is the first ConfigMap."""


def refuse(harness: ControllerHarness, collection: str, answer: web.Response | tuple[int, str]) -> None:
    """Have nothing of a kind made any more."""

    async def before(method: str, path: str) -> web.Response | None:
        if (method, path.rpartition("/")[2]) != ("POST", collection):
            return None
        return refusal(*answer, SENTENCE) if isinstance(answer, tuple) else answer

    harness.api.before = before


def check_end(harness: ControllerHarness, *, waited: float) -> None:
    """The job has failed with the server's own words, and was charged nothing."""
    status = harness.job().status
    failed = next(one for one in status.conditions if one.type == "Failed")
    assert (failed.status, failed.reason) == ("True", "WriteRefused")
    assert SENTENCE in failed.message
    assert "schedulingTimeoutSeconds 60" in failed.message
    assert 60 <= waited <= 75
    assert all(sum(stage.restarts.model_dump().values()) == 0 for stage in status.stages)


async def wait_for_end(harness: ControllerHarness) -> float:
    """Return seconds from the first try until the job has failed."""
    harness.controller.queue.add(KEY)
    began = harness.now[0]
    await harness.settle()
    for _ in range(30):  # what goes with a change of the status is tried again before anything is said of it
        await harness.wait(1)
    shown = next(one for one in harness.job().status.conditions if one.type == "Progressing")
    assert (shown.status, shown.reason) == ("False", "WriteRefused")
    while harness.job().status.phase != "Failed" and harness.now[0] - began < 200:
        await harness.wait(1)
    return harness.now[0] - began


@pytest.mark.parametrize("collection", MADE)
@pytest.mark.parametrize("answer", ["422", "403"])
def test_w8_a_refusal_of_any_object_ends_the_job(answer: str, collection: str, resource: Object) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 60

    async def scenario(harness: ControllerHarness) -> None:
        refuse(harness, collection, ANSWERS[answer])
        check_end(harness, waited=await wait_for_end(harness))

    play(scenario, resource)


@pytest.mark.parametrize("answer", ANSWERS)
def test_w8_an_unforeseen_refusal_ends_the_job_with_the_message_of_the_server(answer: str, resource: Object) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 60

    async def scenario(harness: ControllerHarness) -> None:
        refuse(harness, "jobs", ANSWERS[answer])
        check_end(harness, waited=await wait_for_end(harness))

    play(scenario, resource)


FORBIDDEN = 'User "system:serviceaccount:kubedistill-system:kubedistill-operator" cannot read that'
READ = {
    "get jobs.batch": "/apis/batch/v1/namespaces/team-a/jobs/",
    "list jobs.batch": "/apis/batch/v1/namespaces/team-a/jobs",
    "list rayjobs.ray.io": "/apis/ray.io/v1/namespaces/team-a/rayjobs",
    "list pods": "/api/v1/namespaces/team-a/pods",
    "get configmaps": "/api/v1/namespaces/team-a/configmaps/",
    "get persistentvolumeclaims": "/api/v1/namespaces/team-a/persistentvolumeclaims/",
}
"""What a job is decided from, by the right to read it: a path, or the beginning of paths that ends with a slash."""


def refuse_to_read(harness: ControllerHarness, right: str) -> None:
    """Take one right to read away."""
    path = READ[right]

    async def before(method: str, asked: str) -> web.Response | None:
        is_meant = asked == path or (path.endswith("/") and asked.startswith(path))
        return refusal(403, "Forbidden", FORBIDDEN) if method == "GET" and is_meant else None

    harness.api.before = before


def warnings(harness: ControllerHarness) -> list[str]:
    """Return the messages of Events about a right to read."""
    events = [one for place, one in harness.api.objects.items() if place[0] == EVENTS]
    return [one["message"] for one in events if one["type"] == "Warning" and one["message"].startswith("ReadRefused")]


async def wait_until_told(harness: ControllerHarness) -> str:
    """Return what the job shows at most 30 s after reading was refused for the first time; nothing at once."""
    harness.controller.queue.add(KEY)
    await harness.settle()
    assert "ReadRefused" not in harness.shown(status="False").values()
    for _ in range(30):
        await harness.wait(1)
    assert harness.shown(status="False")["Progressing"] == "ReadRefused"
    return harness.job().status.message


@pytest.mark.parametrize("right", READ)
def test_w17_a_new_job_that_may_not_be_read_shows_the_missing_right_until_it_is_granted(
    right: str, resource: Object, check_message: CheckMessage
) -> None:
    resource["spec"]["schedulingTimeoutSeconds"] = 60

    async def scenario(harness: ControllerHarness) -> None:
        refuse_to_read(harness, right)
        message = await wait_until_told(harness)
        check_message(message, *right.split(), "team-a", "kubedistill-operator", FORBIDDEN)
        version = harness.job().resource_version
        for _ in range(10):
            await harness.wait(300)
        assert harness.job().resource_version == version, "the same is not written again, and nothing ends the job"
        assert warnings(harness) == [message]
        harness.api.before = None
        await harness.wait(300)
        assert "ReadRefused" not in harness.shown(status="False").values()
        assert harness.job().status.phase == "Preparing"
        assert harness.shown(status="True")["Progressing"] == "Prepare"

    play(scenario, resource)


@pytest.mark.parametrize("right", ["get jobs.batch", "get configmaps", "list pods"])
def test_w17_a_job_whose_driver_runs_continues_where_it_was(right: str, resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        refuse_to_read(harness, right)
        await wait_until_told(harness)
        assert harness.job().status.phase == "Preparing"
        before = harness.count(JOBS)
        await harness.wait(7200)
        assert harness.count(JOBS) == before
        finish_stage(harness.api)
        harness.api.before = None
        await harness.wait(300)
        status = harness.job().status
        assert [(stage.name, stage.attempt, stage.state) for stage in status.stages][:2] == [
            ("Prepare", 1, "Succeeded"),
            ("Generate", 1, "Starting"),
        ]
        assert sum(status.stages[0].restarts.model_dump().values()) == 0
        assert "ReadRefused" not in harness.shown(status="False").values()

    play(scenario, resource)


def change(harness: ControllerHarness, *, spec: Object | None = None, metadata: Object | None = None) -> None:
    """Somebody changes the job, which the watch shows."""
    found = harness.api.find(DISTILLATIONS, "support") or {}
    merged = {"spec": found["spec"] | (spec or {}), "metadata": found["metadata"] | (metadata or {})}
    harness.api.put({**found, **merged}, collection=DISTILLATIONS)
    harness.controller.cache.update(harness.job())


def test_w17_a_suspended_job_is_suspended_again_and_a_deleted_one_shows_the_right(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        harness.controller.queue.add(KEY)
        await harness.settle()
        change(harness, spec={"suspend": True})
        harness.controller.queue.add(KEY)
        for _ in range(15):
            await harness.wait(10)
        assert harness.shown(status="False")["Progressing"] == "Suspended"
        refuse_to_read(harness, "list pods")
        change(harness, metadata={"generation": 2})
        await wait_until_told(harness)
        assert harness.job().status.phase == "Suspended"
        harness.api.before = None
        await harness.wait(300)
        assert harness.shown(status="False")["Progressing"] == "Suspended"
        refuse_to_read(harness, "list pods")
        change(harness, metadata={"deletionTimestamp": AT, "finalizers": ["example.com/block"]})
        assert "list pods" in await wait_until_told(harness)
        assert harness.job().status.phase == "Deleting"

    play(scenario, resource)


def test_w17_a_job_that_is_over_does_not_change(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        for _ in CHAIN:
            harness.controller.queue.add(KEY)
            await harness.settle()
            finish_stage(harness.api)
            harness.controller.queue.add(KEY)
            await harness.settle()
            await harness.wait(40)
        assert harness.job().status.phase == "Succeeded"
        version = harness.job().resource_version
        refuse_to_read(harness, "list pods")
        await harness.wait(2000)
        assert harness.job().resource_version == version
        assert warnings(harness) == []

    play(scenario, resource)
