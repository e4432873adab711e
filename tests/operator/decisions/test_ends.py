"""How attempts end, and what that costs: rows A of docs/behaviour.md, by their names."""

import pytest

from kubedistill_operator.observed import Pod
from kubedistill_operator.status import with_stage
from world import World, begin, reason_of, small_spec, stage_of


def test_a2_a_result_of_a_stranger_counts_as_absent(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name, driver="d1")
    world.claim(name, driver="d2")
    world.result(name, driver="d1")
    world.settle()
    assert stage_of(world, "Generate").state == "Running"
    world.result(name, driver="d2")
    world.settle()
    assert stage_of(world, "Generate").state == "Succeeded"


USER_ERRORS = {
    "InvalidData": "train.jsonl:7: not JSON. Mend it",
    "StorageNotWritable": "/kubedistill/storage: user 65532 of group 65532 may not write it. Run `chgrp -R 65532 …`",
}


@pytest.mark.parametrize("reason", USER_ERRORS)
def test_a3_s11_what_only_a_person_can_fix_is_not_tried_again(world: World, reason: str) -> None:
    world.settle()
    name = world.live
    world.run_child(name)
    world.result(name, outcome="Failed", cause="user", reason=reason, message=USER_ERRORS[reason])
    world.settle()
    assert reason_of(world, "Failed") == ("True", reason)
    assert USER_ERRORS[reason] in world.status.message
    assert len(world.created) == 1


def test_a4_the_gate_says_no(world: World) -> None:
    name = begin(world, "Evaluate")
    world.run_child(name)
    summary = {"gate": {"passed": False, "reasons": ["gain 0.0100 is below minGain 0.1"]}, "gain": 0.01}
    world.result(name, summary=summary)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "EvaluationGate")
    assert "minGain" in world.status.message
    assert world.status.result is not None
    assert world.status.result.gain == 0.01
    assert stage_of(world, "Evaluate").state == "Succeeded"


def test_a4_a_result_that_does_not_speak_of_the_gate_passes_nothing(world: World) -> None:
    name = begin(world, "Evaluate")
    world.run_child(name)
    world.result(name, summary={"gain": 0.5})
    world.settle()
    assert reason_of(world, "Failed") == ("True", "EvaluationGate")


CRASH = "Job entrypoint command failed with exit code 139, last available logs (truncated to 20,000 chars): …"


LOST = "Unexpected error occurred: The actor died unexpectedly before finishing this task."


CHARGED = {
    "a6 the driver's process died": ({"child": {"reason": "AppFailed", "message": CRASH}}, "failure", "UserCodeError"),
    "a9 Ray lost the driver": ({"child": {"reason": "AppFailed", "message": LOST}}, "infrastructure", "HeadLost"),
    "a9 the head had died": (
        {"child": {"reason": "JobStatusCheckTimeoutExceeded"}, "pods": [{"exit_code": 137, "exit_reason": "Error"}]},
        "infrastructure", "HeadLost",
    ),
    "a7 out of memory": ({"pods": [{"exit_reason": "OOMKilled", "exit_code": 137}]}, "failure", "OutOfMemory"),
    "a9 head lost": ({"child": {"reason": "JobStatusCheckTimeoutExceeded"}}, "infrastructure", "HeadLost"),
    "a12 node lost": ({"pods": [{"phase": "Running", "node_lost_since": 1.0}]}, "infrastructure", "NodeLost"),
    "a13 pod preempted": ({"pods": [{"exit_reason": "Preempting", "exit_code": 143}]}, "preemption", "Preempted"),
    "a13 node taken away": ({"pods": [{"node_tainted": True}]}, "preemption", "Preempted"),
    "a13 evicted by Kueue": ({"child": {"evicted": True}}, "preemption", "Preempted"),
    "a14 STOPPED ends as Complete": ({"child": {"reason": "", "message": "STOPPED"}}, "infrastructure", "HeadLost"),
    "a14 Failed with jobStatus RUNNING": ({"child": {"reason": "DeadlineExceeded"}}, "infrastructure", "HeadLost"),
}  # fmt: skip


@pytest.mark.parametrize("row", CHARGED)
def test_an_attempt_without_a_result_is_charged_once_to_what_the_evidence_shows(world: World, row: str) -> None:
    evidence, cause, reason = CHARGED[row]
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.end_child(name, **evidence.get("child", {}))
    base = {"name": "p", "uid": "u", "phase": "Failed", "created": world.now, "node": "n1"}
    world.pods[name] = tuple(Pod(**(base | pod)) for pod in evidence.get("pods", ()))
    world.settle()
    assert stage_of(world, "Train").attempt == 1, "the last word may still be on its way"
    world.now += 31
    world.settle()
    world.now += 400
    world.settle()
    stage = stage_of(world, "Train")
    assert getattr(stage.restarts, cause) == 1
    assert stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption == 1
    assert stage.attempt == 2
    assert stage.state == "Starting"
    assert [event.message for event in world.events if event.reason == "AttemptFailed" and reason in event.message]


def test_a5_a_refused_rayjob_ends_the_job(world: World) -> None:
    name = begin(world, "Generate")
    world.settle()
    world.end_child(name, reason="ValidationFailed", message="backoffLimit must be 0")
    world.settle()
    world.now += 31
    world.settle()
    assert reason_of(world, "Failed") == ("True", "ValidationFailed")


def test_a8_silence_is_a_failure(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    world.now += 7199
    world.settle()
    assert stage_of(world, "Generate").state == "Running", "loading may take long"
    world.progress(name, done=1)
    world.settle()
    world.now += 1801
    world.settle()
    assert stage_of(world, "Generate").restarts.failure == 1
    assert stage_of(world, "Generate").reason == "NoProgress"


def test_a10_a_driver_that_came_back_goes_on_in_the_same_attempt(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name, driver="d1")
    world.progress(name, done=10)
    world.settle()
    world.claim(name, driver="d2")
    world.progress(name, done=11)
    world.settle()
    stage = stage_of(world, "Train")
    assert (stage.attempt, stage.starts) == (1, 2)
    world.result(name, driver="d2")
    world.settle()
    assert stage_of(world, "Train").state == "Succeeded"


def test_a11_a_child_that_vanished_is_made_again(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    del world.children[name]
    world.pods.pop(name)
    world.settle()
    world.now += 31
    world.settle()
    world.now += 10
    world.settle()
    stage = stage_of(world, "Generate")
    assert stage.restarts.infrastructure == 1
    assert stage.attempt == 2
    assert len(world.created) == len(set(world.created))


def test_a11_a_child_that_came_and_went_while_no_operator_looked_is_charged_and_not_made_twice(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.status = with_stage(world.status, "Generate", child_uid="", state="Starting")
    del world.children[name]
    world.pods.pop(name)
    world.settle()
    world.now += 31
    world.settle()
    world.now += 10
    world.settle()
    stage = stage_of(world, "Generate")
    assert (stage.attempt, stage.restarts.infrastructure) == (2, 1)
    assert world.created.count(name) == 1


def test_a15_a_vanished_artifact_is_made_again_once(world: World) -> None:
    name = begin(world, "Curate")
    world.run_child(name)
    missing = {
        "outcome": "Failed",
        "cause": "none",
        "reason": "ArtifactMissing",
        "message": "answers are gone",
    }
    world.stored -= {"answers", "judge"}
    world.result(name, **missing)
    world.end_child(name)
    world.settle()
    assert world.status.run is not None
    assert world.status.run.rewound
    assert stage_of(world, "Prepare").attempt == 2
    name = begin_again(world, "Curate")
    world.run_child(name)
    world.result(name, **missing)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "ArtifactMissing")


def begin_again(world: World, stage: str) -> str:
    while stage_of(world, stage).state not in ("Starting", "Running"):
        current = next(one for one in world.status.stages if one.state not in ("Succeeded", "Skipped"))
        world.complete_stage(current.name)
    return world.live


@pytest.mark.parametrize(("cause", "budget"), [("failure", 2), ("infrastructure", 3), ("preemption", 10)])
def test_a16_a_budget_ends(world: World, cause: str, budget: int) -> None:
    begin(world, "Train")
    for attempt in range(1, budget + 2):
        assert stage_of(world, "Train").attempt == attempt
        name = world.live
        world.run_child(name)
        world.settle()
        world.result(name, outcome="Failed", cause=cause, reason="Trouble", message="again")
        world.end_child(name)
        world.settle()
        world.now += 400
        world.settle()
    assert reason_of(world, "Failed") == ("True", "Trouble")
    assert stage_of(world, "Train").attempt == budget + 1


def test_a17_a_run_ends_at_its_deadline(world: World) -> None:
    world.spec = small_spec(activeDeadlineSeconds=100)
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    world.now += 101
    world.progress(name, done=1)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "DeadlineExceeded")
    assert name not in world.children
