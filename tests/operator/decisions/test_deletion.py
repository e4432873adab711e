"""What becomes of a job that is deleted while a finalizer holds it: rows P3 and P10 of docs/behavior.md."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kubedistill.chain import CHAIN
from kubedistill_operator.plan import Plan
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of

FOREIGN = "example.com/block"


def delete(cluster: FakeCluster, *finalizers: str) -> None:
    """Set the job's deletionTimestamp, and let the operator look."""
    cluster.deleting, cluster.finalizers = True, finalizers or (FOREIGN,)
    cluster.settle()


@pytest.fixture
def generating() -> FakeCluster:
    """Return a job whose Generate is running, and whose driver has reported what it spent."""
    cluster = FakeCluster()
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.progress(name, done=10, gpu_seconds=90.0, gpus=2)
    cluster.settle()
    return cluster


def test_p3_the_driver_saves_and_its_child_goes(generating: FakeCluster) -> None:
    name = generating.live
    delete(generating)
    assert generating.channels[name].stop
    assert (generating.status.phase, stage_of(generating, "Generate").state) == ("Deleting", "Stopping")
    assert list(generating.children) == [name], "it has a minute; those of earlier stages go at once"
    generating.result(name, outcome="Stopped", cause="none", reason="Stopped", gpu_seconds=97.0)
    generating.settle()
    generating.end_child(name)
    generating.settle()
    assert not generating.children
    stage = stage_of(generating, "Generate")
    assert (stage.state, stage.gpu_seconds) == ("Pending", 97.0)
    assert sum((stage.restarts.failure, stage.restarts.infrastructure, stage.restarts.preemption)) == 0
    assert generating.events[-1].reason == "AttemptStopped"
    assert reason_of(generating, "Progressing") == ("False", "Deleted")
    assert FOREIGN in generating.status.message
    assert generating.step() == Plan(), "and that is a fixed point"


def test_p3_a_driver_that_does_not_leave_has_a_minute(generating: FakeCluster) -> None:
    name = generating.live
    delete(generating)
    generating.now += 59
    generating.settle()
    assert name in generating.children
    generating.now += 1
    generating.settle()
    assert name not in generating.children
    assert stage_of(generating, "Generate").gpu_seconds == 90 + 2 * 60, "its silence has held GPUs"
    assert stage_of(generating, "Generate").state == "Stopping", "its pods still run"
    generating.pods.clear()
    generating.settle()
    assert stage_of(generating, "Generate").state == "Pending"


def begin_after_failure(cluster: FakeCluster) -> None:
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.result(cluster.live, outcome="Failed", cause="failure", reason="Trouble")
    cluster.end_child(cluster.live)


def wait_in_queue(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    cluster.settle()
    cluster.children[cluster.live] = replace(cluster.children[cluster.live], admitted=False)
    cluster.settle()


def suspend(cluster: FakeCluster) -> None:
    begin(cluster, "Curate")
    cluster.spec = small_spec(suspend=True)


def succeed(cluster: FakeCluster) -> None:
    for stage in CHAIN:
        cluster.complete_stage(stage.name)


def fail(cluster: FakeCluster) -> None:
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.result(cluster.live, outcome="Failed", cause="user", reason="InvalidData")


STATES: dict[str, Callable[[FakeCluster], object]] = {
    "that was never looked at": lambda cluster: None,
    "that has begun, without a child yet": lambda cluster: cluster.step(),
    "whose child was just made": FakeCluster.settle,
    "that waits in a queue": wait_in_queue,
    "between two attempts": begin_after_failure,
    "that is to be suspended": suspend,
    "that was not valid": lambda cluster: setattr(cluster, "problem", "spec.task: not known"),
    "that has succeeded": succeed,
    "that has failed": fail,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("finalizers", [(FOREIGN,), ("foregroundDeletion", FOREIGN)], ids=["foreign", "foreground"])
def test_p3_a_job_in_any_state_comes_to_rest_without_a_child(state: str, finalizers: tuple[str, ...]) -> None:
    cluster = FakeCluster()
    STATES[state](cluster)
    made = list(cluster.created)
    delete(cluster, *finalizers)
    for _ in range(3):
        cluster.now += 61
        for name in list(cluster.pods):
            cluster.end_child(name)
        cluster.settle()
    assert (cluster.status.phase, cluster.children, cluster.created) == ("Deleting", {}, made)
    assert cluster.step() == Plan()


def test_p3_a_late_result_counts_and_no_stage_follows(generating: FakeCluster) -> None:
    name = generating.live
    delete(generating)
    generating.result(name, gpu_seconds=99.0)
    generating.end_child(name)
    generating.settle()
    assert (stage_of(generating, "Generate").state, stage_of(generating, "Generate").gpu_seconds) == ("Succeeded", 99)
    assert (stage_of(generating, "Curate").state, generating.children) == ("Pending", {})


def test_p3_an_operator_that_was_down_stops_it_when_it_is_back(generating: FakeCluster) -> None:
    name = generating.live
    generating.deleting, generating.finalizers = True, (FOREIGN,)
    generating.now += 10**5
    generating.progress(name, done=100, gpu_seconds=2e5, gpus=2)
    generating.settle()
    assert generating.channels[name].stop, "the driver has its minute from now on"
    generating.now += 61
    generating.settle()
    assert generating.children == {}


@pytest.mark.parametrize("finalizers", [("orphan",), ("orphan", FOREIGN)])
def test_p10_a_deletion_with_orphans_lets_the_children_continue(
    finalizers: tuple[str, ...], generating: FakeCluster
) -> None:
    before = generating.status
    delete(generating, *finalizers)
    generating.now += 10**4
    for _ in range(3):
        assert generating.step() == Plan()
    assert (generating.status, generating.channels[generating.live].stop) == (before, False)


@pytest.mark.parametrize("stopping", [False, True])
def test_p10_orphaned_children_continue_although_another_finalizer_holds_the_job(
    *, stopping: bool, generating: FakeCluster
) -> None:
    """The garbage collector takes the ownerReferences away and then its own finalizer, and somebody's is left."""
    if stopping:
        generating.spec = small_spec(suspend=True)
        generating.settle()
    generating.children = {name: replace(one, is_owned=False) for name, one in generating.children.items()}
    kept = dict(generating.children)
    generating.channels.clear()  # read only where they are the job's
    delete(generating)
    generating.now += 10**4
    generating.settle()
    assert generating.children == kept
