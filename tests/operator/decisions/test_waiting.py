"""Why a job waits, what it shows and when that ends: rows W of docs/behaviour.md, by their names."""

from dataclasses import replace

import pytest

from kubedistill.v1alpha1 import Restarts
from kubedistill_operator.observed import Pod, Refusal, Rival
from world import World, begin, reason_of, small_spec, stage_of


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


@pytest.mark.parametrize("is_there", [True, False])
def test_w1_a_child_that_was_let_in_and_ended_between_two_looks_had_its_turn(world: World, *, is_there: bool) -> None:
    world.spec = small_spec(queue={"name": "q"})
    world.settle()
    name = world.live
    world.children[name] = replace(world.children[name], admitted=False)
    world.settle()
    world.now += 60
    world.run_child(name)
    world.result(name)
    world.end_child(name)
    if not is_there:
        del world.children[name]
    world.settle()
    assert stage_of(world, "Prepare").state == "Succeeded"
    assert reason_of(world, "QuotaReserved") == ("True", "Admitted")


def share(world: World, *, namespace: str = "team") -> World:
    """Play Prepare, while another job's child makes the answers."""
    world.rivals = (Rival(namespace, "other", "uid-0", keys={"answers": "key-answers"}),)
    world.complete_stage("Prepare")
    world.settle()
    return world


@pytest.mark.parametrize(("namespace", "who"), [("team", "team/other"), ("secret", "a job of another namespace")])
def test_w2_while_another_jobs_child_makes_the_same_a_job_waits(world: World, namespace: str, who: str) -> None:
    share(world, namespace=namespace)
    assert world.status.phase == "Queued"
    assert reason_of(world, "QuotaReserved") == ("False", "SharedArtifact")
    assert world.status.message == f"SharedArtifact: {who} is making the same artifact"
    assert "secret" not in world.status.model_dump_json()


@pytest.mark.parametrize("made", [True, False])
def test_w2_when_that_has_ended_prepare_looks_again(world: World, *, made: bool) -> None:
    share(world)
    world.now += 600
    world.stored |= {"answers", "judge"} if made else set()
    world.rivals = ()
    world.settle()
    assert stage_of(world, "Prepare").attempt == 2
    world.complete_stage("Prepare")
    generate = stage_of(world, "Generate")
    assert (generate.state, generate.attempt) == (("Skipped", 0) if made else ("Starting", 1))
    assert [name for name in world.created if "generate" in name] == ([] if made else [generate.child])
    assert stage_of(world, "Prepare").restarts.model_dump() == dict.fromkeys(
        ("failure", "infrastructure", "preemption"), 0
    )


def test_w2_the_wait_ends_at_scheduling_timeout_seconds_whatever_was_waited_for_before(world: World) -> None:
    world.spec = small_spec(schedulingTimeoutSeconds=100)
    world.settle()
    world.active_in_namespace = world.settings.max_active_jobs_per_namespace
    world.complete_stage("Prepare")
    assert reason_of(world, "QuotaReserved") == ("False", "NamespaceBusy")
    world.now += 99
    world.active_in_namespace = 0
    world.rivals = (Rival("team", "other", "uid-0", keys={"judge": "key-judge"}),)
    world.settle()
    assert reason_of(world, "QuotaReserved") == ("False", "SharedArtifact")
    world.now += 99
    world.settle()
    assert stage_of(world, "Generate").state == "Pending"
    world.now += 1
    world.settle()
    assert (stage_of(world, "Generate").state, stage_of(world, "Prepare").attempt) == ("Starting", 1)
    world.run_child(world.live)
    world.settle()
    assert (world.status.phase, reason_of(world, "QuotaReserved")) == ("Generating", ("True", "Admitted"))


@pytest.mark.parametrize("whole", [True, False], ids=["the store has it", "it has vanished since"])
def test_w2_what_another_job_has_made_since_prepare_looked_is_looked_for_once(world: World, *, whole: bool) -> None:
    """There was nothing to wait for: the other job was over before this one's turn came."""
    world.settle()
    world.active_in_namespace = world.settings.max_active_jobs_per_namespace
    world.complete_stage("Prepare")
    world.now += 60
    made = {"answers": "key-answers", "judge": "key-judge"}
    world.rivals = (Rival("team", "other", "uid-0", made=made, made_at=world.now),)
    world.stored |= set(made) if whole else set()
    world.now += 60
    world.active_in_namespace = 0
    world.complete_stage("Prepare")
    assert stage_of(world, "Prepare").attempt == 2
    assert stage_of(world, "Generate").state == ("Skipped" if whole else "Starting")
    assert [name for name in world.created if "prepare" in name][2:] == []


def test_w2_a_job_that_made_it_before_prepare_looked_or_not_all_of_it_tells_no_news(world: World) -> None:
    world.settle()
    made = {"answers": "key-answers", "judge": "key-judge"}
    world.rivals = (
        Rival("team", "earlier", "uid-0", made=made, made_at=world.now - 1),
        Rival("team", "half", "uid-1", made={"answers": "key-answers"}, made_at=world.now + 999),
    )
    world.complete_stage("Prepare")
    assert (stage_of(world, "Prepare").attempt, stage_of(world, "Generate").state) == (1, "Starting")


def test_w2_another_jobs_work_on_other_artifacts_is_not_waited_for(world: World) -> None:
    world.rivals = (
        Rival("team", "other", "uid-0", keys={"answers": "another-key"}),
        Rival("team", "later", "uid-1", keys={"student": "key-student"}),
    )
    world.complete_stage("Prepare")
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
