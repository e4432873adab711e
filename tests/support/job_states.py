"""Every state in which others meet a DistillationJob, played in a World: the operator's own code writes its status.

The names begin with the rows of docs/behavior.md.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kubedistill.chain import CHAIN
from kubedistill_operator.observed import Competitor, Pod, Refusal
from support.fake_cluster import NAME, NAMESPACE, FakeCluster, small_spec

Object = dict[str, Any]
Play = Callable[[FakeCluster], None]
STAGES = [stage.name for stage in CHAIN]


def as_object(cluster: FakeCluster) -> Object:
    """Return the job of a world as the API server would give it."""
    status = cluster.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": "job-uid",
            "generation": cluster.generation,
            "annotations": dict(cluster.annotations),
            "finalizers": list(cluster.finalizers),
            **({"deletionTimestamp": "2027-01-15T08:00:00Z"} if cluster.deleting else {}),
        },
        "spec": cluster.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        **({"status": status} if cluster.status.phase else {}),
    }


def play(state: str) -> FakeCluster:
    """Return a world in one of STATES."""
    cluster = FakeCluster()
    STATES[state](cluster)
    return cluster


def edit(cluster: FakeCluster, **changes: Any) -> None:
    """A user edits the spec."""
    cluster.spec, cluster.generation = small_spec(**changes), cluster.generation + 1


def begin(cluster: FakeCluster, stage: str) -> str:
    """Play the stages before one to their success, and start that one; returns its child's name."""
    for one in STAGES[: STAGES.index(stage)]:
        cluster.complete_stage(one)
    cluster.settle()
    return cluster.live


def work(cluster: FakeCluster, stage: str) -> str:
    """Return the same with a driver that is 40 % through."""
    name = begin(cluster, stage)
    cluster.run_child(name)
    cluster.progress(name, done=40)
    cluster.settle()
    return name


def finish(cluster: FakeCluster) -> None:
    """Play a whole run to its success."""
    for stage in STAGES:
        cluster.complete_stage(stage)


def _refused(cluster: FakeCluster) -> None:
    cluster.claim_access_modes = None
    cluster.settle()


def _healed(cluster: FakeCluster) -> None:
    _refused(cluster)
    cluster.claim_access_modes = ("ReadWriteMany",)
    cluster.settle()


def _drifted(cluster: FakeCluster) -> None:
    work(cluster, "Generate")
    edit(cluster, training={"epochs": 7})
    cluster.settle()


def _edited_live(cluster: FakeCluster) -> None:
    work(cluster, "Generate")
    edit(cluster, childRetentionSeconds=1)
    cluster.settle()


def _superseding(cluster: FakeCluster) -> None:
    work(cluster, "Train")
    edit(cluster, runID="second")
    cluster.settle()


def _superseded(cluster: FakeCluster) -> None:
    name = work(cluster, "Train")
    edit(cluster, runID="second")
    cluster.settle()
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped")
    cluster.end_child(name)
    cluster.step()
    while cluster.status.run is not None:
        cluster.step()


def _reused(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(runID="first")
    finish(cluster)
    edit(cluster, runID="second")
    cluster.complete_stage("Prepare")
    cluster.settle()
    edit(cluster, runID="first")
    cluster.settle()


def _edited_when_over(cluster: FakeCluster) -> None:
    finish(cluster)
    edit(cluster, training={"epochs": 7})
    cluster.settle()


def _rerun(cluster: FakeCluster) -> None:
    finish(cluster)
    cluster.stored.clear()
    cluster.annotations["kubedistill.io/rerun"] = "monday"
    cluster.settle()


def _cancelling(cluster: FakeCluster) -> None:
    work(cluster, "Train")
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()


def _cancelled(cluster: FakeCluster) -> None:
    _cancelling(cluster)
    cluster.now += 61
    cluster.settle()
    cluster.end_child(cluster.created[-1])
    cluster.settle()


def _queued(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    cluster.settle()
    cluster.children[cluster.live] = replace(cluster.children[cluster.live], admitted=False)
    cluster.settle()


def _shared(cluster: FakeCluster) -> None:
    cluster.competitors = (Competitor("team", "older", "uid-0", keys={"answers": "key-answers"}),)
    cluster.complete_stage("Prepare")
    cluster.settle()


def _busy(cluster: FakeCluster) -> None:
    cluster.active_in_namespace = cluster.settings.max_active_jobs_per_namespace
    cluster.settle()


def _held(cluster: FakeCluster) -> None:
    cluster.settings = cluster.settings.model_copy(update={"on_restore": "Hold"})
    cluster.settle()


def _waiting(reason: str, *, stage: str = "Generate", message: str = "because") -> Play:
    def play(cluster: FakeCluster) -> None:
        name = begin(cluster, stage)
        pod = Pod("p", "u", "Pending", cluster.now, waiting_reason=reason, waiting_message=message)
        cluster.pods[name] = (pod,)
        cluster.settle()

    return play


def _waited_too_long(cluster: FakeCluster) -> None:
    _waiting("ImagePullBackOff")(cluster)
    cluster.now += 3601
    cluster.settle()


def _no_kuberay(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(cluster.children[name], noticed=False)
    cluster.now += 15
    cluster.settle()


def _quota(cluster: FakeCluster) -> None:
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.settle()
    cluster.result(cluster.live)
    cluster.end_child(cluster.live)
    cluster.refusal = Refusal("", "exceeded quota: team")
    cluster.settle()


def _user_error(cluster: FakeCluster) -> None:
    name = work(cluster, "Prepare")
    cluster.result(
        name, outcome="Failed", cause="user", reason="InvalidData", message="train.jsonl:7: not JSON. Fix it"
    )
    cluster.end_child(name)
    cluster.settle()


def _gate(cluster: FakeCluster) -> None:
    name = work(cluster, "Evaluate")
    cluster.result(name, summary={"gate": {"passed": False, "reasons": ["gain 0.01 is below minGain 0.1"]}})
    cluster.end_child(name)
    cluster.settle()


def _between_attempts(cluster: FakeCluster) -> None:
    name = work(cluster, "Train")
    cluster.result(name, outcome="Failed", cause="failure", reason="UserCodeError", message="it raised")
    cluster.end_child(name)
    cluster.settle()


def _deadline(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(activeDeadlineSeconds=100)
    work(cluster, "Generate")
    cluster.now += 101
    cluster.settle()


def _suspending(cluster: FakeCluster) -> None:
    work(cluster, "Train")
    edit(cluster, suspend=True)
    cluster.settle()


def _suspended(cluster: FakeCluster) -> None:
    _suspending(cluster)
    name = cluster.live
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped")
    cluster.end_child(name)
    cluster.settle()


def _spent(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(budget={"gpuHours": 2})
    name = work(cluster, "Train")
    cluster.progress(name, done=50, gpu_seconds=7200.0)
    cluster.settle()
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped", gpu_seconds=7236.0)
    cluster.end_child(name)
    cluster.settle()


def _suspended_from_the_start(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(suspend=True)
    cluster.settle()


def _edited_when_suspended(cluster: FakeCluster) -> None:
    _suspended(cluster)
    edit(cluster, suspend=True, childRetentionSeconds=1)
    cluster.settle()


def _cancelled_when_suspended(cluster: FakeCluster) -> None:
    _suspended(cluster)
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()


def _resumed(cluster: FakeCluster) -> None:
    _suspended(cluster)
    edit(cluster)
    cluster.settle()


def _held_by_a_finalizer(cluster: FakeCluster) -> None:
    name = work(cluster, "Train")
    cluster.deleting, cluster.finalizers = True, ("example.com/block",)
    cluster.settle()
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped")
    cluster.end_child(name)
    cluster.settle()


def _edit_not_seen(cluster: FakeCluster) -> None:
    finish(cluster)
    edit(cluster, runID="second")


STATES: dict[str, Play] = {
    "not seen yet": lambda cluster: None,
    "s1 applied": lambda cluster: (cluster.step(), None)[1],
    "s1 first child made": lambda cluster: (cluster.settle(), None)[1],
    "s3 no claim": _refused,
    "s3 fixed": _healed,
    "s5 edited during a run": _drifted,
    "s6 live field edited": _edited_live,
    "s7 superseding": _superseding,
    "s7 superseded": _superseded,
    "s8 a used runID": _reused,
    "s9 run again": _rerun,
    "s10 cancelling": _cancelling,
    "s10 cancelled": _cancelled,
    "w1 in a queue": _queued,
    "w2 another job makes the same": _shared,
    "w3 busy namespace": _busy,
    "w9 on hold": _held,
    "w4 no node": _waiting("Unschedulable"),
    "w4 no node for the first stage": _waiting("Unschedulable", stage="Prepare"),
    "w5 image": _waiting("ImagePullBackOff"),
    "w5 image for too long": _waited_too_long,
    "w6 secret": _waiting("CreateContainerConfigError", message='secret "hub" not found'),
    "w7 quota": _quota,
    "w12 KubeRay away": _no_kuberay,
    **{f"a1 {stage} running": (lambda cluster, stage=stage: (work(cluster, stage), None)[1]) for stage in STAGES},
    "a1 succeeded": finish,
    "a1 succeeded and edited": _edited_when_over,
    "a1 an edit that was not seen": _edit_not_seen,
    "a3 a user's mistake": _user_error,
    "a4 the gate failed": _gate,
    "a6 between two attempts": _between_attempts,
    "a17 deadline": _deadline,
    "p1 suspending": _suspending,
    "p1 suspended": _suspended,
    "p1 suspended from the start": _suspended_from_the_start,
    "p1 suspended and edited": _edited_when_suspended,
    "p1 suspended and cancelled": _cancelled_when_suspended,
    "p2 resumed": _resumed,
    "p12 budget spent": _spent,
    "p3 held by a finalizer": _held_by_a_finalizer,
}
