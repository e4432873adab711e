"""What a job does when something happens: the rows of docs/behaviour.md, by their names."""

from dataclasses import replace

import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import ArtifactRef
from kubedistill.settings import Pool
from kubedistill.v1alpha1 import Restarts
from kubedistill_operator.observed import Pod, Refusal, Rival
from kubedistill_operator.status import find_condition, is_true, with_stage
from world import World, small_spec

FORBIDDEN = Pool(node_selector={"a": "b"}, allowed_namespaces=("other",))
STAGES = [stage.name for stage in CHAIN]


@pytest.fixture
def world() -> World:
    return World()


def reason_of(world: World, kind: str) -> tuple[str, str]:
    condition = find_condition(world.status, kind)
    assert condition is not None, [one.type for one in world.status.conditions]
    return condition.status, condition.reason


def begin(world: World, stage: str) -> str:
    """Play the stages before one to their success, and start that one; returns its child's name."""
    for one in STAGES[: STAGES.index(stage)]:
        world.complete_stage(one)
    world.settle()
    return world.live


def stage_of(world: World, name: str):  # type: ignore[no-untyped-def]
    return next(stage for stage in world.status.stages if stage.name == name)


def test_a1_a_whole_run_succeeds_stage_by_stage(world: World) -> None:
    for stage in STAGES:
        world.complete_stage(stage)
    assert world.status.phase == "Succeeded"
    assert is_true(world.status, "Complete")
    assert len(world.created) == len(STAGES) == len(set(world.created))
    assert [event.reason for event in world.events].count("StageSucceeded") == len(STAGES)
    assert {one for one in ("DataGenerated", "StudentTrained", "Evaluated") if is_true(world.status, one)} == {
        "DataGenerated", "StudentTrained", "Evaluated",
    }  # fmt: skip
    assert world.step().status is None, "a run that is over is a fixed point"


def test_a1_status_and_events_say_what_came_of_it(world: World) -> None:
    name = begin(world, "Evaluate")
    world.run_child(name)
    world.settle()
    figures = {"teacherAccuracy": 0.906, "baselineAccuracy": 0.403, "distilledAccuracy": 2 / 3}
    report = {"report": ArtifactRef(key="r", uri="file:///kubedistill/storage/artifacts/report/r", complete=True)}
    summary = {**figures, "gate": {"passed": True}}
    world.result(name, summary=summary, message="gate passed", artifacts=report)
    world.step()
    assert stage_of(world, "Evaluate").message == "gate passed"
    assert stage_of(world, "Evaluate").starts == 1, "though its driver was never seen at work"
    assert world.events[-1].message == "Evaluate attempt 1: gate passed"
    assert world.status.message == "Evaluate: gate passed", "until the next stage has something to say"
    assert world.status.result is not None
    assert world.status.result.distilled_accuracy == 0.666667
    assert world.status.run is not None
    assert [one.uri for one in world.status.run.artifacts if one.name == "report"] == [report["report"].uri]
    world.end_child(name)
    world.complete_stage("Export")
    praise = "accuracy went from 40.3% to 66.7% (teacher 90.6%); the student is exported"
    assert world.status.message == praise
    assert world.events[-1].message == f"run 1: {praise}"
    assert (world.status.attempt, world.status.stage, world.status.progress) == (None, "", "")


def test_s1_the_run_is_frozen_before_anything_is_made(world: World) -> None:
    plan = world.step()
    assert plan.create[0]["metadata"]["name"].startswith("quickstart-run-")
    assert plan.create[0]["immutable"] is True
    assert world.status.phase == "Preparing"
    assert [event.reason for event in world.events] == ["RunStarted"]


@pytest.mark.parametrize(
    ("settings", "claim_modes", "reason", "says"),
    [
        ({"pools": {}}, ("ReadWriteMany",), "UnknownPool", "pool"),
        ({"pools": {"h100": FORBIDDEN}}, ("ReadWriteMany",), "PoolNotAllowed", "namespace"),
        ({}, None, "ClaimNotFound", "shared"),
        ({}, ("ReadWriteOnce",), "StorageNotShared", "ReadWriteMany"),
    ],
    ids=["s2 unknown pool", "s2 forbidden pool", "s3 no claim", "s3 not shared"],
)  # fmt: skip
def test_s2_s3_what_can_not_start_says_why_and_heals(
    world: World, settings: dict, claim_modes: tuple[str, ...] | None, reason: str, says: str
) -> None:
    good = world.settings
    world.settings, world.claim_access_modes = good.model_copy(update=settings), claim_modes
    world.settle()
    assert reason_of(world, "Validated") == ("False", reason)
    assert says in world.status.message
    assert world.status.phase == "Pending"
    assert world.created == []
    assert [event.reason for event in world.events] == ["ValidationFailed"], "said once"
    world.settings, world.claim_access_modes = good, ("ReadWriteMany",)
    world.settle()
    assert reason_of(world, "Validated") == ("True", "Valid")
    assert world.created


def test_s5_an_edit_waits_for_a_new_run(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.spec = small_spec(training={"epochs": 7})
    world.settle()
    assert reason_of(world, "SpecDrift") == ("True", "Edited")
    assert world.live == name
    assert [event.reason for event in world.events].count("SpecDrift") == 1
    world.spec = small_spec()
    world.settle()
    assert find_condition(world.status, "SpecDrift") is None


@pytest.mark.parametrize(
    "edit", [{"childRetentionSeconds": 1}, {"activeDeadlineSeconds": 99_999}, {"queue": {"name": "q"}}]
)
def test_s6_live_fields_are_no_drift(world: World, edit: dict) -> None:
    begin(world, "Generate")
    world.spec = small_spec(**edit)
    world.settle()
    assert find_condition(world.status, "SpecDrift") is None


def test_s7_a_new_run_id_supersedes(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(runID="second")
    world.settle()
    assert world.channels[name].stop, "the driver is asked to save first"
    assert world.status.run is not None
    assert world.status.run.id == "1"
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.settle()
    assert name not in world.children
    assert world.status.run.id == "1", "its pods still run"
    world.end_child(name)
    world.settle()
    assert world.status.run.id == "second"
    assert [(one.id, one.outcome) for one in world.status.run_history] == [("1", "Superseded")]
    assert stage_of(world, "Prepare").attempt == 1


def test_s8_a_used_run_id_starts_nothing(world: World) -> None:
    world.spec = small_spec(runID="first")
    begin(world, "Generate")
    world.spec = small_spec(runID="second")
    world.settle()
    assert world.status.run is not None
    assert world.status.run.id == "second"
    world.spec = small_spec(runID="first")
    world.settle()
    assert world.status.run.id == "second"
    assert reason_of(world, "SpecDrift") == ("True", "RunIDReused")


def test_s9_rerun_is_honoured_once(world: World) -> None:
    for stage in STAGES:
        world.complete_stage(stage)
    world.annotations["kubedistill.io/rerun"] = "monday"
    world.settle()
    assert world.status.run is not None
    assert world.status.run.id == "rerun-monday"
    world.complete_stage("Prepare")
    assert world.status.phase == "Succeeded", "everything was there already"
    world.settle()
    assert [one.id for one in world.status.run_history] == ["1"]
    assert [stage.state for stage in world.status.stages] == ["Succeeded", *["Skipped"] * 5]


def test_s10_cancel_saves_and_ends_for_good(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()
    assert world.channels[name].stop
    world.now += 61
    world.settle()
    world.end_child(name)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "Cancelled")
    assert name not in world.children


def test_w1_a_queue_may_take_for_ever(world: World) -> None:
    world.spec = small_spec(queue={"name": "q"})
    world.settle()
    name = world.live
    world.children[name] = replace(world.children[name], admitted=False)
    world.settle()
    world.now += 10**6
    world.settle()
    assert world.status.phase == "Queued"
    assert reason_of(world, "QuotaReserved") == ("False", "Pending")
    world.run_child(name)
    world.settle()
    assert reason_of(world, "QuotaReserved") == ("True", "Admitted")
    assert world.status.phase == "Preparing"


def test_w2_the_younger_job_waits_for_the_same_artifact(world: World) -> None:
    world.complete_stage("Prepare")
    world = World(rivals=(Rival("team", "older", "uid-0", created=1.0, keys={"answers": "key-answers"}),))
    world.complete_stage("Prepare")
    world.settle()
    assert world.status.phase == "Queued"
    assert reason_of(world, "QuotaReserved") == ("False", "SharedArtifact")
    assert "team/older" in world.status.message
    world.rivals = ()
    world.settle()
    assert stage_of(world, "Generate").state == "Starting"


def test_w3_a_busy_namespace_makes_jobs_wait(world: World) -> None:
    world.active_in_namespace = world.settings.max_active_jobs_per_namespace
    world.settle()
    assert reason_of(world, "QuotaReserved") == ("False", "NamespaceBusy")
    assert world.created == []


WAITS = {
    "w4 no node yet": ("Unschedulable", "WaitingForNodes"),
    "w5 image": ("ImagePullBackOff", "ImagePull"),
    "w6 secret": ("CreateContainerConfigError", "SecretNotFound"),
}


@pytest.mark.parametrize("row", WAITS)
def test_w4_to_w6_waiting_is_said_and_never_charged(world: World, row: str) -> None:
    said, reason = WAITS[row]
    name = begin(world, "Generate")
    world.pods[name] = (Pod("p", "u", "Pending", world.now, waiting_reason=said, waiting_message="because"),)
    world.settle()
    if reason == "WaitingForNodes":
        assert reason_of(world, "Progressing") == ("True", "Generate"), "pods take a moment everywhere"
        assert "Waiting" not in [event.reason for event in world.events]
        world.now += 15
        world.settle()
    assert reason_of(world, "Progressing") == ("False", reason)
    assert "because" in world.status.message
    world.now += 3601
    world.settle()
    assert world.status.phase == "Failed"
    failed = "Unschedulable" if reason == "WaitingForNodes" else reason
    assert reason_of(world, "Failed") == ("True", failed)
    restarts = stage_of(world, "Generate").restarts
    assert (restarts.failure, restarts.infrastructure, restarts.preemption) == (0, 0, 0)


REFUSALS = {
    "w7 quota": (Refusal("ExceededQuota", "exceeded quota: team"), "QuotaExceeded"),
    "w8 policy": (Refusal("", "the policy says no"), "WriteRefused"),
    "w8 a name that is taken": (Refusal("NameTaken", "delete it or rename the job"), "NameTaken"),
}


def refuse(world: World, refusal: Refusal) -> None:
    """Play Prepare to its success, and have nothing made any more."""
    world.settle()
    world.run_child(world.live)
    world.settle()
    world.result(world.live)
    world.end_child(world.live)
    world.refusal = refusal
    world.settle()


@pytest.mark.parametrize("row", REFUSALS)
def test_w7_w8_what_is_refused_is_said_and_made_when_the_cause_is_gone(world: World, row: str) -> None:
    refusal, reason = REFUSALS[row]
    refuse(world, refusal)
    assert reason_of(world, "Progressing") == ("False", reason)
    assert refusal.message in world.status.message
    assert [event.message for event in world.events].count(f"{reason}: {refusal.message}") == 1
    world.refusal = None
    world.settle()
    world.run_child(world.live)
    world.settle()
    assert reason_of(world, "Progressing") == ("True", "Generate")
    assert stage_of(world, "Generate").attempt == 1
    assert stage_of(world, "Generate").restarts == Restarts()


def test_w7_what_is_refused_for_too_long_ends_the_run_and_was_tried_ever_more_seldom(world: World) -> None:
    refuse(world, Refusal("ExceededQuota", "exceeded quota: team"))
    began = world.now
    while world.status.phase != "Failed":
        plan = world.step()
        assert plan.requeue_after is not None
        world.now += plan.requeue_after
    assert world.now - began == 3600
    assert reason_of(world, "Failed") == ("True", "QuotaExceeded")
    assert "longer than schedulingTimeoutSeconds 3600" in world.status.message
    assert world.tries < 30


def test_w7_a_run_that_can_not_be_frozen_waits_too(world: World) -> None:
    world.step(until=1)
    world.refusal = Refusal("ExceededQuota", "exceeded quota: team")
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "QuotaExceeded")
    world.refusal = None
    world.settle()
    assert world.created
    assert reason_of(world, "Progressing") == ("True", "Prepare")


def test_w4_a_cluster_whose_pods_are_on_nodes_is_given_time_to_come_up(world: World) -> None:
    name = begin(world, "Generate")
    world.children[name] = replace(
        world.children[name], message="the head is not ready: containers with unready status"
    )
    world.pods[name] = (
        Pod("head", "p", "Running", world.now, node="n1"),
        Pod("worker", "q", "Pending", world.now, node="n1"),
    )
    for passed in (0, 15, 15, 15):
        world.now += passed
        world.settle()
        assert reason_of(world, "Progressing") == ("True", "Generate")
        assert "head is not ready" in world.status.message
    world.now += 15
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "WaitingForNodes")
    told = [event for event in world.events if event.reason == "Waiting"]
    assert [event.message for event in told] == [
        "WaitingForNodes: the head is not ready: containers with unready status"
    ]


def test_w7_a_job_without_pods_says_where_kubernetes_tells_the_reason(world: World) -> None:
    world.settle()
    assert "the pods are being made" in world.status.message
    world.now += 15
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "WaitingForNodes")
    assert f"`kubectl describe job {world.live}` says why" in world.status.message


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


def test_a3_a_users_mistake_is_not_tried_again(world: World) -> None:
    world.settle()
    name = world.live
    world.run_child(name)
    world.result(name, outcome="Failed", cause="user", reason="InvalidData", message="train.jsonl:7: not JSON. Mend it")
    world.settle()
    assert reason_of(world, "Failed") == ("True", "InvalidData")
    assert "train.jsonl:7" in world.status.message
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
        "cause": "infrastructure",
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


def test_p1_p2_suspend_saves_and_resume_goes_on(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    assert world.channels[name].stop
    assert world.status.phase == "Training"
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.settle()
    world.end_child(name)
    world.settle()
    assert world.status.phase == "Suspended"
    assert name not in world.children
    world.now += 10**6
    world.settle()
    assert world.children == {}, "those of earlier stages are kept no longer than in a run"
    assert world.step().status is None
    world.spec = small_spec()
    world.settle()
    world.complete_stage("Prepare")
    stage = stage_of(world, "Train")
    assert (stage.attempt, stage.state) == (2, "Starting")
    assert stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption == 0


def test_p1_a_driver_that_does_not_leave_has_a_minute(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    world.now += 59
    world.settle()
    assert name in world.children
    world.now += 2
    world.settle()
    assert name not in world.children


def test_p3_a_job_that_is_deleted_is_only_looked_at(world: World) -> None:
    begin(world, "Generate")
    world.deleting = True
    plan = world.reconcile()
    assert (plan.status, plan.create, plan.delete) == (None, (), ())


def test_p4_children_of_a_success_are_kept_for_a_while(world: World) -> None:
    for stage in STAGES:
        world.complete_stage(stage)
    assert world.created[-1] in world.children
    world.now += 601
    world.settle()
    assert world.children == {}


def test_no_attempt_begins_while_pods_of_the_last_one_run(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    world.result(name)
    world.settle()
    assert stage_of(world, "Generate").state == "Succeeded"
    assert stage_of(world, "Curate").state == "Pending"
    world.end_child(name)
    world.settle()
    assert stage_of(world, "Curate").state == "Starting"
