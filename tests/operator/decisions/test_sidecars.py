"""Containers beside the driver's that do not end: its own end is the attempt's; row A19 of docs/behaviour.md."""

from dataclasses import replace

import pytest

from kubedistill_operator.observed import Pod
from world import World, begin, reason_of, stage_of


def leave_to_sidecar(world: World, name: str, *, code: int = 0, reason: str = "Completed") -> None:
    """The driver's container ends, and another one of its pod runs on: the Job is neither ready nor over."""
    world.children[name] = replace(world.children[name], ready=False)
    world.pods[name] = (
        Pod("p", "u", "Running", world.now, node="n1", driver="Ended", exit_code=code, exit_reason=reason),
    )


def run_beside_sidecar(world: World) -> str:
    """Let Prepare's Job run; returns its name."""
    world.settle()
    name = world.live
    world.run_child(name)
    world.settle()
    return name


def test_a19_a_job_whose_driver_has_succeeded_is_deleted_and_the_next_stage_begins(world: World) -> None:
    name = run_beside_sidecar(world)
    world.result(name)
    leave_to_sidecar(world, name)
    world.settle()
    assert stage_of(world, "Prepare").state == "Succeeded"
    assert stage_of(world, "Generate").state == "Starting"
    assert name not in world.children


def test_a19_the_last_job_is_deleted_too(world: World) -> None:
    name = begin(world, "Export")
    world.run_child(name)
    world.settle()
    world.result(name)
    leave_to_sidecar(world, name)
    world.settle()
    assert world.status.phase == "Succeeded"
    assert name not in world.children


def test_a19_a_job_that_has_ended_is_kept_as_it_was(world: World) -> None:
    name = begin(world, "Export")
    world.run_child(name)
    world.settle()
    world.result(name)
    leave_to_sidecar(world, name)
    world.children[name] = replace(world.children[name], state="Ended")
    world.settle()
    assert name in world.children


ENDS = {
    "out of memory": (137, "OOMKilled", "OutOfMemory", "failure"),
    "an exit code": (139, "Error", "UserCodeError", "failure"),
    "nothing to tell": (0, "Completed", "HeadLost", "infrastructure"),
}


@pytest.mark.parametrize("state", ["Running", "Waiting"])
@pytest.mark.parametrize("end", ENDS)
def test_a19_a_driver_that_ends_without_a_result_is_charged_after_the_grace(world: World, end: str, state: str) -> None:
    code, said, reason, cause = ENDS[end]
    name = run_beside_sidecar(world)
    leave_to_sidecar(world, name, code=code, reason=said)
    world.children[name] = replace(world.children[name], state=state)
    world.settle()
    assert stage_of(world, "Prepare").attempt == 1, "the last word may still be on its way"
    world.now += 31
    world.settle()
    stage = stage_of(world, "Prepare")
    assert (stage.reason, getattr(stage.restarts, cause)) == (reason, 1)
    assert name not in world.children
    assert stage.state == "Stopping", "the sidecar's pod is on its way out"
    world.now += 20
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "PodsRemain")
    assert "p" in world.status.message
    world.pods.pop(name)
    world.settle()
    world.now += 10
    world.settle()
    assert stage_of(world, "Prepare").attempt == 2


def test_a19_a_sidecar_that_ends_before_the_driver_ends_nothing(world: World) -> None:
    name = run_beside_sidecar(world)
    world.children[name] = replace(world.children[name], ready=False)
    world.pods[name] = (Pod("p", "u", "Running", world.now, node="n1", driver="Running"),)
    world.now += 100
    world.settle()
    assert stage_of(world, "Prepare").state == "Running"
    assert stage_of(world, "Prepare").ended_at == ""
