"""kstatus, by which Flux and `helm --wait` judge, over every state of a job: as for a Job, started is enough."""

from typing import Any, get_args

import pytest

from kubedistill.v1alpha1.status import Phase
from support.job_states import STATES, Object, as_object, edit, play
from support.lua_interpreter import Interpreter

# What kstatus says. It reads observedGeneration, Reconciling and Stalled, and a Ready that we never set.
KSTATUS = {
    "InProgress": ["s1 applied", "s7 superseded", "w3 busy namespace", "w9 on hold", "a1 an edit that was not seen"],
    "Failed": [
        "s3 no claim", "s10 cancelled", "w5 image for too long", "a3 a user's mistake", "a4 the gate failed",
        "a17 deadline", "p1 suspended and cancelled",
    ],
    "Terminating": ["p3 held by a finalizer"],
}  # fmt: skip
EXPECTED = {name: kind for kind, names in KSTATUS.items() for name in names}


@pytest.mark.parametrize("state", STATES)
def test_kstatus_waits_for_the_first_child_and_no_longer(
    state: str, argo: Interpreter, states: dict[str, Object]
) -> None:
    assert argo.kstatus(states[state]) == EXPECTED.get(state, "Current")


@pytest.mark.parametrize("state", [name for name in STATES if name != "not seen yet"])
def test_an_edit_is_seen_in_every_state(state: str) -> None:
    cluster = play(state)
    kept = {"runID": cluster.spec.run_id} if cluster.spec.run_id else {}
    edit(cluster, suspend=cluster.spec.suspend, childRetentionSeconds=77, **kept)
    cluster.settle()
    cluster.now += 61  # a driver that saves, or a backoff, may take as long
    cluster.settle()
    for name in list(cluster.pods):
        if cluster.status.stages and any(stage.state == "Stopping" for stage in cluster.status.stages):
            cluster.end_child(name)
    cluster.settle()
    assert cluster.status.observed_generation == cluster.generation


def test_the_states_have_every_phase(states: dict[str, Object]) -> None:
    phases = {status["phase"] for one in states.values() if (status := one.get("status"))}
    assert phases == set(get_args(Phase))


def test_the_conditions_of_kstatus_exist_once_and_ready_does_not(states: dict[str, Object]) -> None:
    for name, one in states.items():
        kinds = [condition["type"] for condition in conditions(one)]
        assert len(kinds) == len(set(kinds)), name
        assert "Ready" not in kinds, name
        assert not {"Reconciling", "Stalled"} <= set(kinds), name


def test_a_job_that_is_being_deleted_is_terminating(argo: Interpreter) -> None:
    one = as_object(play("a1 Train running"))
    one["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert argo.kstatus(one) == "Terminating"


def conditions(one: Object) -> list[dict[str, Any]]:
    return list((one.get("status") or {}).get("conditions", []))
