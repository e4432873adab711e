"""What an attempt that is over leaves running: who waits for it, and what is shown; rows A1, W12 and W13."""

from dataclasses import replace

import pytest

from kubedistill.chain import StageName
from kubedistill_operator.observed import Pod
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

BEFORE: dict[StageName, StageName] = {
    "Generate": "Prepare", "Curate": "Generate", "Train": "Curate", "Evaluate": "Train", "Export": "Evaluate",
}  # fmt: skip


def succeed(cluster: FakeCluster, stage: StageName) -> str:
    """Play a stage to its result, with its child and pods left as they are; returns the child's name."""
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    cluster.settle()
    assert stage_of(cluster, stage).state == "Succeeded"
    return name


@pytest.mark.parametrize("stage", ["Curate", "Export", "Generate"])
def test_a1_a_stage_that_needs_no_gpu_of_the_last_one_starts_at_once(cluster: FakeCluster, stage: StageName) -> None:
    last = succeed(cluster, BEFORE[stage])
    assert stage_of(cluster, stage).state == "Starting"
    assert cluster.children[last].state == "Running"


@pytest.mark.parametrize(("stage", "holds"), [("Train", "Generate"), ("Evaluate", "Train")])
def test_a1_a_stage_that_needs_the_gpus_of_an_earlier_one_waits_for_its_pods(
    cluster: FakeCluster, stage: StageName, holds: StageName
) -> None:
    last = succeed(cluster, holds)
    if stage == "Train":
        cluster.complete_stage("Curate")
    assert stage_of(cluster, stage).state == "Pending"
    cluster.children[last] = replace(cluster.children[last], state="Ended")
    cluster.settle()
    assert stage_of(cluster, stage).state == "Pending", "its cluster is still there"
    cluster.pods.pop(last)
    cluster.settle()
    assert stage_of(cluster, stage).state == "Starting"


def test_a1_a_new_run_waits_until_all_objects_of_the_earlier_one_are_gone(cluster: FakeCluster) -> None:
    name = begin(cluster, "Curate")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name, outcome="Failed", cause="user", reason="LowYield", message="too few")
    cluster.settle()
    assert name not in cluster.children
    cluster.annotations["kubedistill.io/rerun"] = "now"
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Pending"
    cluster.pods.pop(name)
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Starting"


def test_w12_w13_a_rayjob_whose_end_is_not_reported_is_shown_and_ends_the_run(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    cluster.spec = small_spec(
        childRetentionSeconds=86_400,
        student={"model": {"source": "student"}, "resources": {"pool": "h100", "workers": 8, "gpusPerWorker": 1}},
    )
    name = succeed(cluster, "Train")
    assert reason_of(cluster, "Progressing") == ("True", "Train")
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")
    check_message(cluster.status.message, "8", "Train", name)
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    assert "8 GPUs" in cluster.status.message
    told = [event for event in cluster.events if event.reason == "Waiting"]
    assert [event.message.partition(":")[0] for event in told] == ["PodsRemain", "KubeRayAbsent"]
    assert [event.about for event in told] == ["PodsRemain", "KubeRayAbsent"], "or the second is the first's name again"
    cluster.now += 3570
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "KubeRayAbsent")


def test_w12_the_run_continues_uncharged_when_kuberay_comes_back(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Train")
    cluster.now += 60
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    cluster.end_child(name)
    cluster.settle()
    assert stage_of(cluster, "Evaluate").state == "Starting"
    assert reason_of(cluster, "Progressing") == ("True", "Evaluate")
    assert stage_of(cluster, "Train").restarts.infrastructure == 0


def test_w12_a_cluster_that_outlives_its_rayjob_is_kuberays_to_delete(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.now += 31
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")


def test_w13_pods_that_are_terminating_are_named_and_kuberay_is_not(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.pods[name] = (Pod("slow", "u", "Running", cluster.now, node="n1", deleting=True),)
    cluster.now += 120
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")
    assert "slow" in cluster.status.message


@pytest.mark.parametrize(
    ("grace", "silent"),
    [pytest.param(30, 30, id="the grace period"), pytest.param(3600, 60, id="a minute of a long one")],
)
def test_w13_pods_that_end_within_their_grace_period_are_not_named(
    cluster: FakeCluster, grace: float, silent: float
) -> None:
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.pods[name] = (
        Pod("head", "u", "Running", cluster.now, node="n1", deleting=True, ends_by=cluster.now + grace),
    )
    cluster.now += silent - 1
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Train")
    assert not [event for event in cluster.events if event.type == "Warning"]
    cluster.now += 1
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")


def test_w13_a_grace_period_on_a_lost_node_hides_nothing(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    pod = Pod("p", "u", "Running", cluster.now, node="n7", deleting=True, ends_by=cluster.now + 30)
    cluster.pods[name] = (replace(pod, node_lost_since=cluster.now),)
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")


def test_w13_a_grace_period_of_one_pod_does_not_hide_another(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Train")
    ending = Pod("head", "u", "Running", cluster.now, node="n1", deleting=True, ends_by=cluster.now + 30)
    cluster.pods[name] = (ending, Pod("worker", "v", "Running", cluster.now, node="n1"))
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")


def test_w13_a_lost_node_is_named_until_its_pods_count_as_gone(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.pods[name] = (Pod("p", "u", "Running", cluster.now, node="node-7", node_lost_since=cluster.now),)
    cluster.now += 60
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")
    check_message(cluster.status.message, "node-7")
    cluster.now += 240
    cluster.settle()
    assert stage_of(cluster, "Evaluate").state == "Starting"


def test_w12_a_deleted_rayjob_that_stays_is_shown_while_a_job_stops(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.spec = small_spec(suspend=True)
    cluster.settle()
    child = cluster.children[name]
    cluster.now += 61
    cluster.settle()
    cluster.children[name] = replace(child, deleting=True)  # KubeRay's finalizer holds it
    cluster.now += 31
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    assert stage_of(cluster, "Train").reason == "Suspended"
    cluster.now += 4000
    cluster.settle()
    assert cluster.status.phase != "Failed", "whoever suspends a job does not want it to fail"
    cluster.end_child(name)
    del cluster.children[name]
    cluster.settle()
    assert cluster.status.phase == "Suspended"


def test_a1_a_stage_that_is_complete_is_skipped_although_objects_still_run(cluster: FakeCluster) -> None:
    cluster.stored |= {"student"}
    last = succeed(cluster, "Generate")
    cluster.complete_stage("Curate")
    assert stage_of(cluster, "Train").state == "Skipped"
    assert stage_of(cluster, "Evaluate").state == "Pending"
    cluster.end_child(last)
    cluster.settle()
    assert stage_of(cluster, "Evaluate").state == "Starting"


def test_w13_time_in_suspension_does_not_count_as_waiting(cluster: FakeCluster) -> None:
    name = succeed(cluster, "Prepare")
    cluster.pods[name] = (Pod("p", "u", "Running", cluster.now, node="n1"),)
    cluster.spec = small_spec(suspend=True)
    cluster.settle()
    cluster.now += 100_000
    cluster.spec = small_spec()
    cluster.settle()
    assert cluster.status.phase != "Failed"


def test_w13_a_short_schedulingtimeout_waits_for_a_lost_node_to_count_as_gone(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(schedulingTimeoutSeconds=30)
    name = succeed(cluster, "Train")
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.pods[name] = (Pod("p", "u", "Running", cluster.now, node="node-7", node_lost_since=cluster.now),)
    for _ in range(20):
        cluster.now += 15
        cluster.settle()
    assert stage_of(cluster, "Evaluate").state == "Starting"
