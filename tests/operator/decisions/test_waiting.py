"""Why a job waits, what it shows and when that ends: rows W of docs/behavior.md, by their names."""

from dataclasses import replace

import pytest

from kubedistill.v1alpha1 import Restarts
from kubedistill_operator.observed import Competitor, Pod, Refusal
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage


def test_w1_a_queue_may_take_any_time(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    cluster.settle()
    name = cluster.live
    cluster.children[name] = replace(cluster.children[name], admitted=False)
    cluster.settle()
    cluster.now += 10**6
    cluster.settle()
    assert cluster.status.phase == "Queued"
    assert reason_of(cluster, "QuotaReserved") == ("False", "Pending")
    cluster.run_child(name)
    cluster.settle()
    assert reason_of(cluster, "QuotaReserved") == ("True", "Admitted")
    assert cluster.status.phase == "Preparing"


@pytest.mark.parametrize("is_there", [True, False])
def test_w1_a_child_that_was_let_in_and_ended_between_two_looks_had_its_turn(
    cluster: FakeCluster, *, is_there: bool
) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    cluster.settle()
    name = cluster.live
    cluster.children[name] = replace(cluster.children[name], admitted=False)
    cluster.settle()
    cluster.now += 60
    cluster.run_child(name)
    cluster.result(name)
    cluster.end_child(name)
    if not is_there:
        del cluster.children[name]
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Succeeded"
    assert reason_of(cluster, "QuotaReserved") == ("True", "Admitted")


def test_w1_time_in_a_queue_does_not_count_as_waiting_for_pods(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    while not cluster.children:
        cluster.step()
    name = cluster.live
    cluster.children[name] = replace(cluster.children[name], admitted=False)
    cluster.settle()
    cluster.now += 10**6
    cluster.children[name] = replace(cluster.children[name], admitted=True)
    cluster.settle()
    cluster.now += 3599
    cluster.settle()
    assert cluster.status.phase == "Preparing"
    cluster.now += 1
    cluster.settle()
    assert cluster.status.phase == "Failed"


def share(cluster: FakeCluster, *, namespace: str = "team") -> FakeCluster:
    """Play Prepare, while another job's child makes the answers."""
    cluster.competitors = (Competitor(namespace, "other", "uid-0", keys={"answers": "key-answers"}),)
    cluster.complete_stage("Prepare")
    cluster.settle()
    return cluster


@pytest.mark.parametrize(("namespace", "who"), [("team", "team/other"), ("secret", "a job in another namespace")])
def test_w2_while_another_jobs_child_makes_the_same_a_job_waits(
    cluster: FakeCluster, namespace: str, who: str, check_message: CheckMessage
) -> None:
    share(cluster, namespace=namespace)
    assert cluster.status.phase == "Queued"
    assert reason_of(cluster, "QuotaReserved") == ("False", "SharedArtifact")
    check_message(cluster.status.message, "SharedArtifact", who)
    assert "secret" not in cluster.status.model_dump_json()
    cluster.now += 90
    cluster.settle()
    queued = [event.message for event in cluster.events if event.reason == "Queued"]
    assert queued == [cluster.status.message], "sent once"


@pytest.mark.parametrize("made", [True, False])
def test_w2_when_that_has_ended_prepare_looks_again(cluster: FakeCluster, *, made: bool) -> None:
    share(cluster)
    cluster.now += 600
    cluster.stored |= {"answers", "judge"} if made else set()
    cluster.competitors = ()
    cluster.settle()
    assert stage_of(cluster, "Prepare").attempt == 2
    assert [event.reason for event in cluster.events].count("PrepareRepeated") == 1
    cluster.complete_stage("Prepare")
    generate = stage_of(cluster, "Generate")
    assert (generate.state, generate.attempt) == (("Skipped", 0) if made else ("Starting", 1))
    assert [name for name in cluster.created if "generate" in name] == ([] if made else [generate.child])
    assert stage_of(cluster, "Prepare").restarts.model_dump() == dict.fromkeys(
        ("failure", "infrastructure", "preemption"), 0
    )


def test_w2_a_wait_ends_at_scheduling_timeout_seconds_in_spite_of_earlier_waits(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(schedulingTimeoutSeconds=100)
    cluster.settle()
    cluster.active_in_namespace = cluster.settings.max_active_jobs_per_namespace
    cluster.complete_stage("Prepare")
    assert reason_of(cluster, "QuotaReserved") == ("False", "NamespaceBusy")
    cluster.now += 99
    cluster.active_in_namespace = 0
    cluster.competitors = (Competitor("team", "other", "uid-0", keys={"judge": "key-judge"}),)
    cluster.settle()
    assert reason_of(cluster, "QuotaReserved") == ("False", "SharedArtifact")
    cluster.now += 99
    cluster.settle()
    assert stage_of(cluster, "Generate").state == "Pending"
    cluster.now += 1
    cluster.settle()
    assert (stage_of(cluster, "Generate").state, stage_of(cluster, "Prepare").attempt) == ("Starting", 1)
    cluster.run_child(cluster.live)
    cluster.settle()
    assert (cluster.status.phase, reason_of(cluster, "QuotaReserved")) == ("Generating", ("True", "Admitted"))


@pytest.mark.parametrize("whole", [True, False], ids=["the store has it", "it has vanished since"])
def test_w2_an_artifact_made_by_another_job_since_prepare_is_looked_for_once(
    cluster: FakeCluster, *, whole: bool
) -> None:
    """There was nothing to wait for: the other job was over before this one's turn came."""
    cluster.settle()
    cluster.active_in_namespace = cluster.settings.max_active_jobs_per_namespace
    cluster.complete_stage("Prepare")
    cluster.now += 60
    made = {"answers": "key-answers", "judge": "key-judge"}
    cluster.competitors = (Competitor("team", "other", "uid-0", made=made, made_at=cluster.now),)
    cluster.stored |= set(made) if whole else set()
    cluster.now += 60
    cluster.active_in_namespace = 0
    cluster.complete_stage("Prepare")
    assert stage_of(cluster, "Prepare").attempt == 2
    assert stage_of(cluster, "Generate").state == ("Skipped" if whole else "Starting")
    assert [name for name in cluster.created if "prepare" in name][2:] == []


def test_w2_a_competitor_that_ended_before_prepare_or_in_part_starts_no_second_one(cluster: FakeCluster) -> None:
    cluster.settle()
    made = {"answers": "key-answers", "judge": "key-judge"}
    cluster.competitors = (
        Competitor("team", "earlier", "uid-0", made=made, made_at=cluster.now - 1),
        Competitor("team", "half", "uid-1", made={"answers": "key-answers"}, made_at=cluster.now + 999),
    )
    cluster.complete_stage("Prepare")
    assert (stage_of(cluster, "Prepare").attempt, stage_of(cluster, "Generate").state) == (1, "Starting")


def test_w2_another_jobs_work_on_other_artifacts_is_not_waited_for(cluster: FakeCluster) -> None:
    cluster.competitors = (
        Competitor("team", "other", "uid-0", keys={"answers": "another-key"}),
        Competitor("team", "later", "uid-1", keys={"student": "key-student"}),
    )
    cluster.complete_stage("Prepare")
    assert stage_of(cluster, "Generate").state == "Starting"


def test_w3_a_busy_namespace_makes_jobs_wait(cluster: FakeCluster) -> None:
    cluster.active_in_namespace = cluster.settings.max_active_jobs_per_namespace
    cluster.settle()
    assert reason_of(cluster, "QuotaReserved") == ("False", "NamespaceBusy")
    assert cluster.created == []
    assert [event.reason for event in cluster.events] == ["RunStarted", "Queued"]


WAITS = {
    "w4 no node yet": ("Unschedulable", "WaitingForNodes"),
    "w5 image": ("ImagePullBackOff", "ImagePull"),
}


@pytest.mark.parametrize("row", WAITS)
def test_w4_w5_waiting_is_said_and_never_charged(cluster: FakeCluster, row: str) -> None:
    said, reason = WAITS[row]
    name = begin(cluster, "Generate")
    cluster.pods[name] = (Pod("p", "u", "Pending", cluster.now, waiting_reason=said, waiting_message="because"),)
    cluster.settle()
    if reason == "WaitingForNodes":
        assert reason_of(cluster, "Progressing") == ("True", "Generate"), "pods take a moment everywhere"
        assert "Waiting" not in [event.reason for event in cluster.events]
        cluster.now += 15
        cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", reason)
    assert "because" in cluster.status.message
    cluster.now += 3601
    cluster.settle()
    assert cluster.status.phase == "Failed"
    failed = "Unschedulable" if reason == "WaitingForNodes" else reason
    assert reason_of(cluster, "Failed") == ("True", failed)
    restarts = stage_of(cluster, "Generate").restarts
    assert (restarts.failure, restarts.infrastructure, restarts.preemption) == (0, 0, 0)


REFUSALS = {
    "w7 quota": (Refusal("", "exceeded quota: team"), "QuotaExceeded"),
    "w7 a quota on what the child does not say": (Refusal("", "failed quota: q: must specify cpu"), "QuotaExceeded"),
    "w8 policy": (Refusal("", "the policy says no"), "WriteRefused"),
    "w8 a name that is taken": (Refusal("NameTaken", "delete it or rename the job"), "NameTaken"),
}


def refuse(cluster: FakeCluster, refusal: Refusal) -> None:
    """Play Prepare to its success, and have nothing made any more."""
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.settle()
    cluster.result(cluster.live)
    cluster.end_child(cluster.live)
    cluster.refusal = refusal
    cluster.settle()


@pytest.mark.parametrize("row", REFUSALS)
def test_w7_w8_a_refused_object_is_reported_and_created_when_the_cause_is_gone(cluster: FakeCluster, row: str) -> None:
    refusal, reason = REFUSALS[row]
    refuse(cluster, refusal)
    assert reason_of(cluster, "Progressing") == ("False", reason)
    assert refusal.message in cluster.status.message
    assert [event.message for event in cluster.events].count(f"{reason}: {refusal.message}") == 1
    cluster.refusal = None
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    assert stage_of(cluster, "Generate").attempt == 1
    assert stage_of(cluster, "Generate").restarts == Restarts()


def test_w7_a_refusal_that_lasts_is_retried_at_growing_intervals_and_ends_the_run(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    refuse(cluster, Refusal("", "exceeded quota: team"))
    began = cluster.now
    while cluster.status.phase != "Failed":
        plan = cluster.step()
        assert plan.requeue_after is not None
        cluster.now += plan.requeue_after
    assert cluster.now - began == 3600
    assert reason_of(cluster, "Failed") == ("True", "QuotaExceeded")
    check_message(cluster.status.message, "schedulingTimeoutSeconds 3600")
    assert cluster.tries < 30


def test_w7_a_run_that_cannot_be_frozen_waits_too(cluster: FakeCluster) -> None:
    cluster.step(until=1)
    cluster.refusal = Refusal("", "exceeded quota: team")
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "QuotaExceeded")
    cluster.refusal = None
    cluster.settle()
    assert cluster.created
    assert reason_of(cluster, "Progressing") == ("True", "Prepare")


def test_w4_a_cluster_whose_pods_are_on_nodes_is_given_time_to_come_up(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(
        cluster.children[name], message="the head is not ready: containers with unready status"
    )
    cluster.pods[name] = (
        Pod("head", "p", "Running", cluster.now, node="n1"),
        Pod("worker", "q", "Pending", cluster.now, node="n1"),
    )
    for passed in (0, 15, 15, 15):
        cluster.now += passed
        cluster.settle()
        assert reason_of(cluster, "Progressing") == ("True", "Generate")
        check_message(cluster.status.message)
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "WaitingForNodes")
    told = [event for event in cluster.events if event.reason == "Waiting"]
    assert [event.message for event in told] == [
        "WaitingForNodes: the head is not ready: containers with unready status"
    ]


def test_w11_a_job_without_pods_and_events_names_the_command_that_shows_more(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    cluster.settle()
    check_message(cluster.status.message)
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRefused")
    check_message(cluster.status.message, cluster.live)


def test_w8_an_object_that_is_about_to_go_is_named_only_if_it_stays(cluster: FakeCluster) -> None:
    refuse(cluster, Refusal("NameTaken", "ConfigMap team/x is being deleted", is_passing=True))
    began = cluster.now
    shown = 0.0
    while not shown:
        plan = cluster.step()
        shown = cluster.now - began if reason_of(cluster, "Progressing")[0] == "False" else 0.0
        cluster.now += plan.requeue_after or 0
    assert 15 <= shown <= 30, "what goes within seconds is not reported"
    assert reason_of(cluster, "Progressing") == ("False", "NameTaken")
    while cluster.status.phase != "Failed":
        plan = cluster.step()
        cluster.now += plan.requeue_after or 0
    assert 3600 <= cluster.now - began < 3700
    assert reason_of(cluster, "Failed") == ("True", "NameTaken")


def test_w8_a_frozen_run_whose_name_is_taken_is_reported_too(cluster: FakeCluster) -> None:
    cluster.step(until=1)
    cluster.refusal = Refusal("NameTaken", "ConfigMap team/x is being deleted", is_passing=True)
    cluster.settle()
    assert "Waiting" not in [event.reason for event in cluster.events]
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "NameTaken")


OVERDUE = {"state": "Ended", "reason": "PreRunningDeadlineExceeded", "message": "passed the preRunningDeadlineSeconds"}


def test_w4_the_deadline_that_kuberay_enforces_first_is_the_same_end(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"
    cluster.pods[name] = (Pod("p", "u", "Pending", cluster.now, waiting_reason="Unschedulable", waiting_message=words),)
    for _ in range(240):
        cluster.settle()
        cluster.now += 14.9
    cluster.children[name] = replace(cluster.children[name], **OVERDUE)
    del cluster.pods[name]
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "Unschedulable")
    assert words in cluster.status.message
    restarts = stage_of(cluster, "Generate").restarts
    assert (restarts.failure, restarts.infrastructure, restarts.preemption) == (0, 0, 0)
    assert stage_of(cluster, "Generate").attempt == 1


def test_w4_that_deadline_ends_the_wait_of_a_job_without_other_events(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.now += 3601
    cluster.children[name] = replace(cluster.children[name], **OVERDUE)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "WaitingForNodes")
    assert OVERDUE["message"] in cluster.status.message


def test_w4_a_driver_that_was_running_by_then_is_judged_by_its_result(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.end_child(name, reason=OVERDUE["reason"])
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    assert cluster.status.phase == "Generating"
    assert stage_of(cluster, "Generate").restarts.infrastructure == 1


@pytest.mark.parametrize(
    ("replicas", "pipeline", "scheduled", "says"),
    [
        (4, 1, 3, "3 of 4 workers have a node, which is enough for 3 of 4 replicas"),
        (4, 2, 5, "5 of 8 workers have a node, which is enough for 2 of 4 replicas"),
        (2, 2, 1, "1 of 4 workers have a node, which is enough for 0 of 2 replicas"),
        (1, 2, 1, ""),
    ],
)
def test_w4_replicas_that_fit_are_named_once_no_node_is_expected(
    cluster: FakeCluster, replicas: int, pipeline: int, scheduled: int, says: str, check_message: CheckMessage
) -> None:
    model = {"source": "teacher", "pipelineParallelSize": pipeline}
    teacher = {"name": "big", "model": model, "resources": {"pool": "h100", "replicas": replicas}}
    cluster.spec = small_spec(teachers=[teacher])
    name = begin(cluster, "Generate")
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"
    cluster.pods[name] = (
        Pod("head", "h", "Running", cluster.now, node="n0"),
        *(Pod(f"w{one}", "u", "Running", cluster.now, node="n1", is_worker=True) for one in range(scheduled)),
        Pod("w", "p", "Pending", cluster.now, waiting_reason="Unschedulable", waiting_message=words, is_worker=True),
    )
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "WaitingForNodes")
    assert "replicas" not in cluster.status.message, "there may be nodes for all soon"
    cluster.now += cluster.settings.scale_up_grace_seconds
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "Unschedulable")
    assert says in cluster.status.message
    assert words in cluster.status.message
    check_message(cluster.status.message)
    cluster.now += 3600
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "Unschedulable")
    assert says in cluster.status.message
