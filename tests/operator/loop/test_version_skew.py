"""A status of another version: nothing is done about the job, nothing of it is dropped, and it continues as it was."""

import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kubedistill.canonical import text_digest
from support.controller_harness import KEY, ControllerHarness, finish_stage, play
from support.messages import CheckMessage
from support.operator_objects import DISTILLATIONS, EVENTS, JOBS, MAPS, RAYJOBS

Object = dict[str, Any]
Scenario = Callable[[ControllerHarness], Awaitable[None]]


def status_of(harness: ControllerHarness) -> Object:
    return copy.deepcopy((harness.api.find(DISTILLATIONS, "support") or {})["status"])


def store(harness: ControllerHarness, status: Object, **changes: Any) -> None:
    """Another version's operator, or a user, writes the job."""
    found = harness.api.find(DISTILLATIONS, "support") or {}
    metadata = {**found["metadata"], **changes.pop("metadata", {})}
    harness.api.put({**found, **changes, "metadata": metadata, "status": status}, collection=DISTILLATIONS)


def stalled(status: Object) -> Object | None:
    return next((one for one in status["conditions"] if one["type"] == "Stalled"), None)


def told(harness: ControllerHarness) -> list[str]:
    events = [one for place, one in harness.api.objects.items() if place[0] == EVENTS]
    return [one["message"] for one in events if one["reason"] == "StatusNotUnderstood"]


async def reconcile_key(harness: ControllerHarness) -> None:
    harness.controller.queue.add(KEY)
    await harness.settle()


async def to_train(harness: ControllerHarness) -> None:
    """The job is in Train, whose RayJob runs."""
    await reconcile_key(harness)
    for _ in range(3):
        finish_stage(harness.api)
        await reconcile_key(harness)
        await harness.wait(40)
    assert status_of(harness)["stage"] == "Train"


def without_conditions(status: Object) -> Object:
    return {name: value for name, value in status.items() if name != "conditions"}


def newer(status: Object, case: str) -> Object:
    """Return the status as a newer operator would have written it."""
    status = copy.deepcopy(status) | {"budget": {"spent": 3}}
    train = next(one for one in status["stages"] if one["name"] == "Train")
    if case == "stage":
        status["stages"].insert(4, {"name": "Reflect", "state": "Running", "attempt": 1, "child": "support-reflect-a"})
    elif case == "state":
        train["state"] = "Paused"
    elif case == "outcome":
        status["runHistory"] = [{"id": "zero", "outcome": "Paused"}]
    elif case == "artifact":
        status["run"]["artifacts"].append({"name": "embeddings", "key": "k"})
    else:
        status["conditions"][0]["status"] = "Maybe"
    return status


CASES = ("stage", "state", "outcome", "artifact", "condition")


@pytest.mark.parametrize("case", CASES)
def test_a_status_that_is_not_understood_stops_all_work_until_it_is(
    case: str, resource: Object, check_message: CheckMessage
) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        await to_train(harness)
        before = status_of(harness)
        stored = newer(before, case)
        children = harness.count(RAYJOBS), harness.count(JOBS), harness.count(MAPS)
        store(harness, stored)
        await reconcile_key(harness)
        found = stalled(status_of(harness))
        assert found is not None
        assert (found["status"], found["reason"]) == ("True", "StatusNotUnderstood")
        check_message(found["message"])
        assert without_conditions(status_of(harness)) == without_conditions(stored)
        finish_stage(harness.api)
        for _ in range(3):
            await reconcile_key(harness)
            await harness.wait(7200)
        assert (harness.count(RAYJOBS), harness.count(JOBS), harness.count(MAPS)) == children
        assert told(harness) == [found["message"]]
        assert without_conditions(status_of(harness)) == without_conditions(stored)
        store(harness, before | {"budget": {"spent": 3}, "conditions": [*before["conditions"], found]})
        await reconcile_key(harness)
        await harness.wait(40)
        after = status_of(harness)
        assert stalled(after) is None
        assert after["stage"] == "Evaluate", "what the driver said meanwhile was not lost"
        assert after["budget"] == {"spent": 3}
        assert [one["attempt"] for one in after["stages"]][:5] == [1] * 5

    play(scenario, resource)


def test_a_job_that_is_over_says_so_too_and_is_left_alone(resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        await to_train(harness)
        for _ in range(3):
            finish_stage(harness.api)
            await reconcile_key(harness)
            await harness.wait(40)
        before = status_of(harness)
        assert before["phase"] == "Succeeded"
        store(harness, before | {"runHistory": [{"id": "zero", "outcome": "Paused"}]})
        await reconcile_key(harness)
        assert (stalled(status_of(harness)) or {})["reason"] == "StatusNotUnderstood"
        runs = harness.api.writes()
        await harness.wait(7200)
        await reconcile_key(harness)
        assert harness.api.writes() == runs
        store(harness, status_of(harness) | {"runHistory": []})
        await reconcile_key(harness)
        assert without_conditions(status_of(harness)) == without_conditions(before)
        assert {one["type"] for one in status_of(harness)["conditions"]} == {
            one["type"] for one in before["conditions"]
        }

    play(scenario, resource)


WAITING: dict[str, Object] = {
    "suspend": {"spec": {"suspend": True}},
    "cancel": {"metadata": {"annotations": {"kubedistill.io/cancel": "1"}}},
    "rerun": {"metadata": {"annotations": {"kubedistill.io/rerun": "1"}}},
    "deletion": {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}},
}


@pytest.mark.parametrize("case", WAITING)
def test_its_requests_wait_and_a_deletion_is_left_to_kubernetes(case: str, resource: Object) -> None:
    async def scenario(harness: ControllerHarness) -> None:
        await to_train(harness)
        stored = newer(status_of(harness), "state")
        changes = copy.deepcopy(WAITING[case])
        changes |= {"spec": resource["spec"] | changes["spec"]} if "spec" in changes else {}
        store(harness, stored, **changes)
        done = harness.api.writes()
        await reconcile_key(harness)
        wrote = [method for method, path in harness.api.writes()[len(done) :] if not path.endswith("/events")]
        assert wrote == ([] if case == "deletion" else ["PUT"])
        assert without_conditions(status_of(harness)) == without_conditions(stored)

    play(scenario, resource)


FROZEN: dict[str, tuple[Callable[[Object], Any], str]] = {
    "a newer contract": (lambda run: run.update(contract=99), "contract 99 is not understood"),
    "a choice of a newer spec": (lambda run: run["spec"]["task"].update(type="Rank"), 'task.type: "Rank" is not one'),
    "a choice of newer images": (lambda run: run["images"].update(pullPolicy="Lazily"), '"Lazily" is not one of'),
}  # fmt: skip


@pytest.mark.parametrize("case", FROZEN)
def test_a_run_that_another_version_froze_is_not_made_again(case: str, resource: Object) -> None:
    change, problem = FROZEN[case]

    async def scenario(harness: ControllerHarness) -> None:
        await to_train(harness)
        (place,) = [place for place, one in harness.api.objects.items() if "run.json" in one.get("data", {})]
        frozen = harness.api.objects[place]
        run = json.loads(frozen["data"]["run.json"])
        change(run)
        before = status_of(harness)
        harness.controller.observer.forget(harness.job().uid)  # a new operator leads
        text = json.dumps(run)
        name = f"{frozen['metadata']['name'].rpartition('-')[0]}-{text_digest(text)}"
        theirs = {**frozen, "metadata": frozen["metadata"] | {"name": name}, "data": {"run.json": text}}
        harness.api.put(theirs, collection=MAPS)
        stored = copy.deepcopy(before)
        stored["run"]["snapshotDigest"] = text_digest(text)
        store(harness, stored)
        await reconcile_key(harness)
        assert problem in (stalled(status_of(harness)) or {})["message"]
        assert without_conditions(status_of(harness)) == without_conditions(stored)
        store(harness, before | {"conditions": status_of(harness)["conditions"]})
        await reconcile_key(harness)
        assert stalled(status_of(harness)) is None

    play(scenario, resource)
