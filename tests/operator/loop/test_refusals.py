"""What the API server refuses to make and no check foresaw: row W8 of docs/behavior.md, by every way to say no."""

from typing import Any

import pytest
from aiohttp import web

from support.controller_harness import KEY, ControllerHarness, play
from support.fake_api import refusal

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
