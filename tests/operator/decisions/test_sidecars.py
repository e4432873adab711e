"""Sidecars of the driver that do not end: its own end is the attempt's; row A19 of docs/behavior.md."""

from dataclasses import replace

import pytest

from kubedistill.chain import StageName
from kubedistill_operator.observed import Pod
from support.fake_cluster import FakeCluster, begin, reason_of, stage_of


def leave_to_sidecar(cluster: FakeCluster, name: str, *, code: int = 0, reason: str = "Completed") -> None:
    """The driver's container ends, and another one of its pod runs on: the Job is neither ready nor over."""
    cluster.children[name] = replace(cluster.children[name], ready=False)
    cluster.pods[name] = (
        Pod("p", "u", "Running", cluster.now, node="n1", driver="Ended", exit_code=code, exit_reason=reason),
    )


def run_beside_sidecar(cluster: FakeCluster) -> str:
    """Let Prepare's Job run; returns its name."""
    cluster.settle()
    name = cluster.live
    cluster.run_child(name)
    cluster.settle()
    return name


def test_a19_a_job_whose_driver_has_succeeded_is_deleted_and_the_next_stage_begins(cluster: FakeCluster) -> None:
    name = run_beside_sidecar(cluster)
    cluster.result(name)
    leave_to_sidecar(cluster, name)
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Succeeded"
    assert stage_of(cluster, "Generate").state == "Starting"
    assert name not in cluster.children


def test_a19_the_last_job_is_deleted_too(cluster: FakeCluster) -> None:
    name = begin(cluster, "Export")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    leave_to_sidecar(cluster, name)
    cluster.settle()
    assert cluster.status.phase == "Succeeded"
    assert name not in cluster.children


def test_a19_a_job_that_has_ended_is_kept_as_it_was(cluster: FakeCluster) -> None:
    name = begin(cluster, "Export")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    leave_to_sidecar(cluster, name)
    cluster.children[name] = replace(cluster.children[name], state="Ended")
    cluster.settle()
    assert name in cluster.children


@pytest.mark.parametrize("stage", ["Prepare", "Export"])
def test_a19_a_job_whose_only_container_has_ended_is_kept_before_its_controller_says_so(
    cluster: FakeCluster, stage: StageName
) -> None:
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    leave_to_sidecar(cluster, name)
    cluster.pods[name] = tuple(replace(pod, phase="Succeeded") for pod in cluster.pods[name])
    cluster.settle()
    assert stage_of(cluster, stage).state == "Succeeded"
    assert name in cluster.children


ENDS = {
    "out of memory": (137, "OOMKilled", "OutOfMemory", "failure"),
    "an exit code": (139, "Error", "UserCodeError", "failure"),
    "nothing to tell": (0, "Completed", "HeadLost", "infrastructure"),
}


@pytest.mark.parametrize("state", ["Running", "Waiting"])
@pytest.mark.parametrize("end", ENDS)
def test_a19_a_driver_that_ends_without_a_result_is_charged_after_the_grace(
    cluster: FakeCluster, end: str, state: str
) -> None:
    code, said, reason, cause = ENDS[end]
    name = run_beside_sidecar(cluster)
    leave_to_sidecar(cluster, name, code=code, reason=said)
    cluster.children[name] = replace(cluster.children[name], state=state)
    cluster.settle()
    assert stage_of(cluster, "Prepare").attempt == 1, "the last word may still be on its way"
    cluster.now += 31
    cluster.settle()
    stage = stage_of(cluster, "Prepare")
    assert (stage.reason, getattr(stage.restarts, cause)) == (reason, 1)
    assert name not in cluster.children
    assert stage.state == "Stopping", "the sidecar's pod is on its way out"
    cluster.now += 20
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsRemain")
    assert "p" in cluster.status.message
    cluster.pods.pop(name)
    cluster.settle()
    cluster.now += 10
    cluster.settle()
    assert stage_of(cluster, "Prepare").attempt == 2


def test_a19_a_sidecar_that_ends_before_the_driver_ends_nothing(cluster: FakeCluster) -> None:
    name = run_beside_sidecar(cluster)
    cluster.children[name] = replace(cluster.children[name], ready=False)
    cluster.pods[name] = (Pod("p", "u", "Running", cluster.now, node="n1", driver="Running"),)
    cluster.now += 100
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Running"
    assert stage_of(cluster, "Prepare").ended_at == ""
