"""Row A10 of docs/behavior.md: KubeRay starts a driver again in the same attempt, and says so nowhere."""

from dataclasses import replace

import pytest

from kubedistill.chain import CHAIN
from kubedistill.v1alpha1 import StageStatus
from support.fake_cluster import FakeCluster

STAGES = [stage.name for stage in CHAIN]


@pytest.fixture
def cluster() -> FakeCluster:
    """Return a job whose Train stage works on."""
    made = FakeCluster()
    for stage in STAGES[: STAGES.index("Train")]:
        made.complete_stage(stage)
    made.settle()
    made.run_child(made.live, driver="d1")
    made.progress(made.live, done=10)
    made.settle()
    return made


def train(cluster: FakeCluster) -> StageStatus:
    return next(stage for stage in cluster.status.stages if stage.name == "Train")


def told(cluster: FakeCluster) -> list[str]:
    return [event.message for event in cluster.events if event.reason == "DriverRestarted"]


def test_a_lost_head_is_charged_to_infrastructure_and_the_attempt_continues(cluster: FakeCluster) -> None:
    cluster.claim(cluster.live, driver="d2")
    cluster.settle()
    stage = train(cluster)
    assert (stage.state, stage.attempt, stage.starts) == ("Running", 1, 2)
    assert (stage.restarts.failure, stage.restarts.infrastructure, stage.restarts.preemption) == (0, 1, 0)
    assert told(cluster) == ["Train attempt 1: driver 2 continues after driver 1 was lost"]


def test_a_head_that_was_killed_for_its_memory_is_charged_like_any_pod(cluster: FakeCluster) -> None:
    name = cluster.live
    (pod,) = cluster.pods[name]
    cluster.pods[name] = (replace(pod, exit_reason="OOMKilled", exit_code=137, restarts=1),)
    cluster.claim(name, driver="d2")
    cluster.settle()
    stage = train(cluster)
    assert (stage.state, stage.attempt, stage.starts) == ("Running", 1, 2)
    assert (stage.restarts.failure, stage.restarts.infrastructure, stage.restarts.preemption) == (1, 0, 0)
    assert [pod.name in message and "more memory than its limit" in message for message in told(cluster)] == [True]


def test_a_head_that_is_killed_repeatedly_for_its_memory_ends_as_out_of_memory(cluster: FakeCluster) -> None:
    name = cluster.live
    (pod,) = cluster.pods[name]
    cluster.pods[name] = (replace(pod, exit_reason="OOMKilled", exit_code=137, restarts=1),)
    for number in range(2, 9):
        if name in cluster.children:
            cluster.claim(name, driver=f"d{number}")
            cluster.settle()
    assert train(cluster).restarts.failure == cluster.spec.retry.max_failures + 1
    failed = cluster.status.condition("Failed")
    assert failed is not None
    assert (failed.status, failed.reason) == ("True", "OutOfMemory")


def test_each_further_driver_is_charged_once_even_if_it_is_seen_late(cluster: FakeCluster) -> None:
    for driver in ("d2", "d3"):
        cluster.claim(cluster.live, driver=driver)
    for _ in range(3):
        cluster.settle()
        cluster.now += 31
    assert (train(cluster).starts, train(cluster).restarts.infrastructure, len(told(cluster))) == (3, 2, 2)


def test_a_driver_that_succeeds_before_anybody_looks_has_cost_its_restart(cluster: FakeCluster) -> None:
    name = cluster.live
    for driver in ("d2", "d3", "d4", "d5"):
        cluster.claim(name, driver=driver)
    cluster.result(name, driver="d5")
    cluster.end_child(name)
    cluster.settle()
    stage = train(cluster)
    assert (stage.state, stage.starts, stage.restarts.infrastructure) == ("Succeeded", 5, 4), "success is success"


def test_a_head_that_is_lost_repeatedly_ends_with_the_budget(cluster: FakeCluster) -> None:
    name = cluster.live
    for number in range(2, 6):
        assert train(cluster).state == "Running"
        cluster.claim(name, driver=f"d{number}")
        cluster.settle()
    assert train(cluster).state == "Failed"
    assert train(cluster).restarts.infrastructure == 4
    failed = cluster.status.condition("Failed")
    assert failed is not None
    assert (failed.status, failed.reason) == ("True", "DriverRestarted")
    assert name not in cluster.children, "the cluster goes with the run"


def test_a_count_that_somebody_took_back_and_gave_again_costs_nothing_more(cluster: FakeCluster) -> None:
    name = cluster.live
    cluster.claim(name, driver="d2")
    cluster.settle()
    kept = cluster.channels[name]
    for starts in (0, 1, 2):
        cluster.channels[name] = type(kept)(kept.owner, starts, kept.progress)
        cluster.settle()
    assert (train(cluster).starts, train(cluster).restarts.infrastructure) == (2, 1)


def test_a_stage_that_ends_before_it_is_seen_to_run_has_started_once() -> None:
    cluster = FakeCluster()
    cluster.settle()
    name = cluster.live
    cluster.run_child(name)
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    assert cluster.status.stages[0].starts == 1
