"""What the evidence of an attempt's end counts for, whenever it is seen: pods go before the grace is over."""

from dataclasses import replace

import pytest

from kubedistill.chain import StageName
from kubedistill_operator.observed import Pod
from support.fake_cluster import FakeCluster, begin, stage_of
from support.messages import check_facts


def begin_training(cluster: FakeCluster) -> str:
    """Let Train's child run; returns its name."""
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    return name


def test_a6_a_failed_job_is_explained_by_the_exit_code_of_its_pod(cluster: FakeCluster) -> None:
    cluster.settle()
    name = cluster.live
    cluster.run_child(name)
    cluster.settle()
    cluster.end_child(name, reason="BackoffLimitExceeded")
    cluster.pods[name] = (Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason="Error", exit_code=139),)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    assert (cluster.status.stages[0].restarts.failure, cluster.status.stages[0].restarts.infrastructure) == (1, 0)
    assert "pod p ended with exit code 139" in next(
        event.message for event in cluster.events if event.reason == "AttemptFailed"
    )


def test_a7_evidence_of_a_pod_counts_after_it_is_gone(cluster: FakeCluster) -> None:
    name = begin_training(cluster)
    pods = cluster.pods[name]
    cluster.end_child(name, reason="SubmissionFailed")
    cluster.pods[name] = (replace(pods[0], phase="Failed", exit_reason="OOMKilled", exit_code=137),)
    cluster.settle()
    del cluster.children[name], cluster.pods[name]
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.restarts.failure, stage.restarts.infrastructure) == (1, 0)
    assert [
        event.message for event in cluster.events if event.reason == "AttemptFailed" and "OutOfMemory" in event.message
    ]


def test_a7_evidence_that_comes_late_counts_too(cluster: FakeCluster) -> None:
    name = begin_training(cluster)
    cluster.end_child(name, reason="SubmissionFailed")
    cluster.settle()
    cluster.pods[name] = (
        Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason="TerminationByKubelet", exit_code=143),
    )
    cluster.now += 31
    cluster.settle()
    assert stage_of(cluster, "Train").restarts.preemption == 1


def test_a13_a_child_that_runs_again_revokes_its_apparent_end(cluster: FakeCluster) -> None:
    name = begin_training(cluster)
    cluster.children[name] = replace(cluster.children[name], evicted=True)
    cluster.settle()
    cluster.children[name] = replace(cluster.children[name], evicted=False)
    cluster.settle()
    assert stage_of(cluster, "Train").ended_at == ""
    assert stage_of(cluster, "Train").reason == ""
    cluster.end_child(name)
    cluster.settle()
    assert stage_of(cluster, "Train").attempt == 1, "the grace period begins again"


FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."
EMPTY_DIR = 'Usage of EmptyDir volume "shared-mem" exceeds the limit "2Gi".'
# Kubelet's reason and sentence, and what that is charged to.
PUT_OUT = {
    "a7 ephemeral-storage": ("Evicted", FULL, "failure", "StorageExceeded"),
    "a7 one container's": ("Evicted", "Container driver exceeded its local ephemeral storage limit", "failure",
                           "StorageExceeded"),
    "a7 emptyDir": ("Evicted", EMPTY_DIR, "failure", "StorageExceeded"),
    "a13 its node was short": ("TerminationByKubelet", "The node was low on resource: memory.", "preemption",
                               "Preempted"),
    "a13 its node was short, as old kubelets say": (
        "Evicted", "The node was low on resource: ephemeral-storage.", "preemption", "Preempted",
    ),
    "a13 pressure, as old kubelets say": ("Evicted", "The node had condition: [DiskPressure].", "preemption",
                                          "Preempted"),
    "a13 its node was short before it started": (
        "Evicted", "Pod was rejected: The node had condition: [DiskPressure].", "preemption", "Preempted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", ["Curate", "Train"])
@pytest.mark.parametrize("row", PUT_OUT)
def test_a7_a13_a_pod_is_evicted_for_its_usage_or_for_its_node(
    cluster: FakeCluster, row: str, stage: StageName
) -> None:
    said, sentence, cause, reason = PUT_OUT[row]
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.settle()
    cluster.end_child(name, reason="BackoffLimitExceeded")
    cluster.pods[name] = (
        Pod("p", "u", "Failed", cluster.now, node="n1", exit_code=137, exit_reason=said, exit_message=sentence),
    )
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    assert getattr(stage_of(cluster, stage).restarts, cause) == 1
    told = [event.message for event in cluster.events if event.reason == "AttemptFailed"]
    assert [f": {reason}: " in message for message in told] == [True]
    assert sentence in told[0] or cause == "preemption"


def test_a6_a_command_missing_from_the_image_is_reported_with_the_runtimes_message(cluster: FakeCluster) -> None:
    cluster.settle()
    name = cluster.live
    words = 'exec: "python": executable file not found in $PATH'
    cluster.end_child(name, reason="BackoffLimitExceeded")
    cluster.pods[name] = (
        Pod("p", "u", "Failed", cluster.now, exit_code=128, exit_reason="StartError", exit_message=words),
    )
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    stage = cluster.status.stages[0]
    assert (stage.restarts.failure, stage.reason) == (1, "UserCodeError")
    assert words in stage.message


# Kubelet's reason and sentence for a pod of which no container ever ran.
REJECTED = {
    "a GPU that the device plugin lacks": (
        "UnexpectedAdmissionError",
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected",
    ),
    "GPUs that another scheduler gave away": (
        "OutOfnvidia.com/gpu", "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 8",
    ),
    "labels that the node lost": (
        "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match the node selector",
    ),
    "a topology": (
        "TopologyAffinityError", "Pod was rejected: Resources cannot be allocated with Topology locality",
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", ["Curate", "Train"])
@pytest.mark.parametrize("row", REJECTED)
def test_a20_a_pod_that_kubelet_rejects_is_reported_with_its_message(
    cluster: FakeCluster, row: str, stage: StageName
) -> None:
    said, sentence = REJECTED[row]
    name = begin(cluster, stage)
    cluster.end_child(name, reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")
    cluster.pods[name] = (Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason=said, exit_message=sentence),)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    restarts = stage_of(cluster, stage).restarts
    assert (restarts.failure, restarts.infrastructure, restarts.preemption) == (0, 1, 0)
    told = [event.message for event in cluster.events if event.reason == "AttemptFailed"]
    assert [": PodRejected: " in message and "node n1" in message for message in told] == [True]
    assert sentence in told[0]


UNKNOWN = "The container could not be located when the pod was terminated"
# What is left of a pod whose node was restarted or removed under it.
VANISHED = {
    "a node that was restarted": ("ContainerStatusUnknown", UNKNOWN),
    "a node that was removed": ("DeletionByPodGC", ""),
}


@pytest.mark.parametrize("stage", ["Curate", "Train"])
@pytest.mark.parametrize("row", VANISHED)
def test_a12_a_pod_whose_node_lost_it_did_not_end_by_itself(cluster: FakeCluster, row: str, stage: StageName) -> None:
    said, sentence = VANISHED[row]
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.settle()
    cluster.end_child(name, reason="BackoffLimitExceeded")
    cluster.pods[name] = (
        Pod("p", "u", "Failed", cluster.now, node="n1", exit_code=137, exit_reason=said, exit_message=sentence),
    )
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    restarts = stage_of(cluster, stage).restarts
    assert (restarts.failure, restarts.infrastructure, restarts.preemption) == (0, 1, 0)
    told = [event.message for event in cluster.events if event.reason == "AttemptFailed"]
    assert [": NodeLost: " in message and "node n1" in message for message in told] == [True]


@pytest.mark.parametrize("stage", ["Curate", "Train"])
def test_a9_a_driver_that_cannot_reach_the_api_server_is_charged_to_infrastructure(
    cluster: FakeCluster, stage: StageName
) -> None:
    """It left no result for that very reason; its exit code says so, in a Job's pod or in the words of Ray."""
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.settle()
    if stage == "Train":
        cluster.end_child(name, reason="AppFailed", message="Job entrypoint command failed with exit code 69")
    else:
        cluster.end_child(name, reason="BackoffLimitExceeded")
        cluster.pods[name] = (Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason="Error", exit_code=69),)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    found = stage_of(cluster, stage)
    assert (found.restarts.infrastructure, found.restarts.failure) == (1, 0)
    assert [one.message.count("ChannelUnavailable") for one in cluster.events if one.reason == "AttemptFailed"] == [1]


@pytest.mark.parametrize("stage", ["Curate", "Train"])
def test_a3_a_driver_that_reports_an_invalid_store_by_its_exit_code_is_not_retried(
    cluster: FakeCluster, stage: StageName
) -> None:
    name, line = begin(cluster, stage), "spec.storage.uri: scheme 's3' is not supported yet"
    cluster.run_child(name)
    cluster.settle()
    if stage == "Train":
        cluster.end_child(name, reason="AppFailed", message=f"Job entrypoint command failed with exit code 78, {line}")
    else:
        cluster.end_child(name, reason="BackoffLimitExceeded")
        ended = Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason="Error", exit_code=78, exit_message=line)
        cluster.pods[name] = (ended,)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    failed = cluster.status.condition("Failed")
    assert failed is not None
    assert (failed.status, failed.reason) == ("True", "InvalidManifest")
    check_facts(failed.message, "spec.storage.uri", 78)
    assert sum(stage_of(cluster, stage).restarts.model_dump().values()) == 0


def test_a6_exit_code_2_is_retried_since_work_that_was_replaced_ends_with_it_too(cluster: FakeCluster) -> None:
    name = begin(cluster, "Curate")
    cluster.run_child(name)
    cluster.settle()
    cluster.end_child(name, reason="BackoffLimitExceeded")
    cluster.pods[name] = (Pod("p", "u", "Failed", cluster.now, node="n1", exit_reason="Error", exit_code=2),)
    cluster.settle()
    cluster.now += 31
    cluster.settle()
    assert stage_of(cluster, "Curate").restarts.failure == 1
    assert cluster.status.phase == "Curating"
