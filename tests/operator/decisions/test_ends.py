"""How attempts end, and what that costs: rows A of docs/behavior.md, by their names."""

import pytest

from kubedistill_operator.observed import Pod
from kubedistill_operator.status import with_stage
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of


def test_a2_a_result_of_a_stranger_counts_as_absent(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name, driver="d1")
    cluster.claim(name, driver="d2")
    cluster.result(name, driver="d1")
    cluster.settle()
    assert stage_of(cluster, "Generate").state == "Running"
    cluster.result(name, driver="d2")
    cluster.settle()
    assert stage_of(cluster, "Generate").state == "Succeeded"


USER_ERRORS = {
    "InvalidData": "train.jsonl:7: not JSON. Fix it",
    "StorageNotWritable": "/kubedistill/storage: user 65532 of group 65532 may not write it. Run `chgrp -R 65532 …`",
}


@pytest.mark.parametrize("reason", USER_ERRORS)
def test_a3_s11_a_failure_that_only_a_person_can_fix_is_not_retried(cluster: FakeCluster, reason: str) -> None:
    cluster.settle()
    name = cluster.live
    cluster.run_child(name)
    cluster.result(name, outcome="Failed", cause="user", reason=reason, message=USER_ERRORS[reason])
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", reason)
    assert USER_ERRORS[reason] in cluster.status.message
    assert len(cluster.created) == 1


def test_a4_the_gate_fails(cluster: FakeCluster) -> None:
    name = begin(cluster, "Evaluate")
    cluster.run_child(name)
    summary = {"gate": {"passed": False, "reasons": ["gain 0.0100 is below minGain 0.1"]}, "gain": 0.01}
    cluster.result(name, summary=summary)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "EvaluationGate")
    assert "minGain" in cluster.status.message
    assert cluster.status.result is not None
    assert cluster.status.result.gain == 0.01
    assert stage_of(cluster, "Evaluate").state == "Succeeded"


def test_a4_a_result_that_does_not_speak_of_the_gate_passes_nothing(cluster: FakeCluster) -> None:
    name = begin(cluster, "Evaluate")
    cluster.run_child(name)
    cluster.result(name, summary={"gain": 0.5})
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "EvaluationGate")


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
def test_an_attempt_without_a_result_is_charged_once_to_the_cause_that_is_evident(
    cluster: FakeCluster, row: str
) -> None:
    evidence, cause, reason = CHARGED[row]
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.end_child(name, **evidence.get("child", {}))
    base = {"name": "p", "uid": "u", "phase": "Failed", "created": cluster.now, "node": "n1"}
    cluster.pods[name] = tuple(Pod(**(base | pod)) for pod in evidence.get("pods", ()))
    cluster.settle()
    assert stage_of(cluster, "Train").attempt == 1, "the last word may still be on its way"
    cluster.now += 31
    cluster.settle()
    cluster.now += 400
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert getattr(stage.restarts, cause) == 1
    assert stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption == 1
    assert stage.attempt == 2
    assert stage.state == "Starting"
    assert [event.message for event in cluster.events if event.reason == "AttemptFailed" and reason in event.message]


def test_a5_a_refused_rayjob_ends_the_job(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.settle()
    cluster.end_child(name, reason="ValidationFailed", message="backoffLimit must be 0")
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "ValidationFailed")


def test_a8_silence_is_a_failure(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    cluster.now += 7199
    cluster.settle()
    assert stage_of(cluster, "Generate").state == "Running", "loading may take long"
    cluster.progress(name, done=1)
    cluster.settle()
    cluster.now += 1801
    cluster.settle()
    assert stage_of(cluster, "Generate").restarts.failure == 1
    assert stage_of(cluster, "Generate").reason == "NoProgress"


def test_a10_a_driver_that_came_back_continues_in_the_same_attempt(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name, driver="d1")
    cluster.progress(name, done=10)
    cluster.settle()
    cluster.claim(name, driver="d2")
    cluster.progress(name, done=11)
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.attempt, stage.starts) == (1, 2)
    cluster.result(name, driver="d2")
    cluster.settle()
    assert stage_of(cluster, "Train").state == "Succeeded"


def test_a11_a_child_that_vanished_is_made_again(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    del cluster.children[name]
    cluster.pods.pop(name)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    cluster.now += 10
    cluster.settle()
    stage = stage_of(cluster, "Generate")
    assert stage.restarts.infrastructure == 1
    assert stage.attempt == 2
    assert len(cluster.created) == len(set(cluster.created))


def test_a11_a_child_that_vanished_while_no_operator_ran_is_charged_once(
    cluster: FakeCluster,
) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.status = with_stage(cluster.status, "Generate", child_uid="", state="Starting")
    del cluster.children[name]
    cluster.pods.pop(name)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    cluster.now += 10
    cluster.settle()
    stage = stage_of(cluster, "Generate")
    assert (stage.attempt, stage.restarts.infrastructure) == (2, 1)
    assert cluster.created.count(name) == 1


def test_a15_a_vanished_artifact_is_made_again_once(cluster: FakeCluster) -> None:
    name = begin(cluster, "Curate")
    cluster.run_child(name)
    missing = {
        "outcome": "Failed",
        "cause": "none",
        "reason": "ArtifactMissing",
        "message": "answers are gone",
    }
    cluster.stored -= {"answers", "judge"}
    cluster.result(name, **missing)
    cluster.end_child(name)
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.status.run.rebuilt
    assert stage_of(cluster, "Prepare").attempt == 2
    name = begin_again(cluster, "Curate")
    cluster.run_child(name)
    cluster.result(name, **missing)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "ArtifactMissing")


def begin_again(cluster: FakeCluster, stage: str) -> str:
    while stage_of(cluster, stage).state not in ("Starting", "Running"):
        current = next(one for one in cluster.status.stages if one.state not in ("Succeeded", "Skipped"))
        cluster.complete_stage(current.name)
    return cluster.live


@pytest.mark.parametrize(("cause", "budget"), [("failure", 2), ("infrastructure", 3), ("preemption", 10)])
def test_a16_a_budget_ends(cluster: FakeCluster, cause: str, budget: int) -> None:
    begin(cluster, "Train")
    for attempt in range(1, budget + 2):
        assert stage_of(cluster, "Train").attempt == attempt
        name = cluster.live
        cluster.run_child(name)
        cluster.settle()
        cluster.result(name, outcome="Failed", cause=cause, reason="Trouble", message="again")
        cluster.end_child(name)
        cluster.settle()
        cluster.now += 400
        cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "Trouble")
    assert stage_of(cluster, "Train").attempt == budget + 1


def test_a17_a_run_ends_at_its_deadline(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(activeDeadlineSeconds=100)
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    cluster.now += 101
    cluster.progress(name, done=1)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "DeadlineExceeded")
    assert name not in cluster.children
