"""Every state in which others meet a DistillationJob, played in a World: the operator's own code writes its status.

The names begin with the rows of docs/behaviour.md.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kubedistill.chain import CHAIN
from kubedistill_operator.observed import Pod, Refusal, Rival
from world import NAME, NAMESPACE, World, small_spec

Object = dict[str, Any]
Play = Callable[[World], None]
STAGES = [stage.name for stage in CHAIN]


def as_object(world: World) -> Object:
    """The job of a world as the API server would give it."""
    status = world.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": "job-uid",
            "generation": world.generation,
            "annotations": dict(world.annotations),
            "finalizers": list(world.finalizers),
            **({"deletionTimestamp": "2027-01-15T08:00:00Z"} if world.deleting else {}),
        },
        "spec": world.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        **({"status": status} if world.status.phase else {}),
    }


def play(state: str) -> World:
    """A world in one of STATES."""
    world = World()
    STATES[state](world)
    return world


def edit(world: World, **changes: Any) -> None:
    """A user edits the spec."""
    world.spec, world.generation = small_spec(**changes), world.generation + 1


def begin(world: World, stage: str) -> str:
    """Play the stages before one to their success, and start that one; returns its child's name."""
    for one in STAGES[: STAGES.index(stage)]:
        world.complete_stage(one)
    world.settle()
    return world.live


def work(world: World, stage: str) -> str:
    """The same, and a driver is 40 % through."""
    name = begin(world, stage)
    world.run_child(name)
    world.progress(name, done=40)
    world.settle()
    return name


def finish(world: World) -> None:
    """Play a whole run to its success."""
    for stage in STAGES:
        world.complete_stage(stage)


def _refused(world: World) -> None:
    world.claim_access_modes = None
    world.settle()


def _healed(world: World) -> None:
    _refused(world)
    world.claim_access_modes = ("ReadWriteMany",)
    world.settle()


def _drifted(world: World) -> None:
    work(world, "Generate")
    edit(world, training={"epochs": 7})
    world.settle()


def _edited_live(world: World) -> None:
    work(world, "Generate")
    edit(world, childRetentionSeconds=1)
    world.settle()


def _superseding(world: World) -> None:
    work(world, "Train")
    edit(world, runID="second")
    world.settle()


def _superseded(world: World) -> None:
    name = work(world, "Train")
    edit(world, runID="second")
    world.settle()
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.end_child(name)
    world.step()
    while world.status.run is not None:
        world.step()


def _reused(world: World) -> None:
    world.spec = small_spec(runID="first")
    finish(world)
    edit(world, runID="second")
    world.complete_stage("Prepare")
    world.settle()
    edit(world, runID="first")
    world.settle()


def _edited_when_over(world: World) -> None:
    finish(world)
    edit(world, training={"epochs": 7})
    world.settle()


def _rerun(world: World) -> None:
    finish(world)
    world.stored.clear()
    world.annotations["kubedistill.io/rerun"] = "monday"
    world.settle()


def _cancelling(world: World) -> None:
    work(world, "Train")
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()


def _cancelled(world: World) -> None:
    _cancelling(world)
    world.now += 61
    world.settle()
    world.end_child(world.created[-1])
    world.settle()


def _queued(world: World) -> None:
    world.spec = small_spec(queue={"name": "q"})
    world.settle()
    world.children[world.live] = replace(world.children[world.live], admitted=False)
    world.settle()


def _shared(world: World) -> None:
    world.rivals = (Rival("team", "older", "uid-0", keys={"answers": "key-answers"}),)
    world.complete_stage("Prepare")
    world.settle()


def _busy(world: World) -> None:
    world.active_in_namespace = world.settings.max_active_jobs_per_namespace
    world.settle()


def _held(world: World) -> None:
    world.settings = world.settings.model_copy(update={"on_restore": "Hold"})
    world.settle()


def _waiting(reason: str, *, stage: str = "Generate", message: str = "because") -> Play:
    def play(world: World) -> None:
        name = begin(world, stage)
        pod = Pod("p", "u", "Pending", world.now, waiting_reason=reason, waiting_message=message)
        world.pods[name] = (pod,)
        world.settle()

    return play


def _waited_too_long(world: World) -> None:
    _waiting("ImagePullBackOff")(world)
    world.now += 3601
    world.settle()


def _no_kuberay(world: World) -> None:
    name = begin(world, "Generate")
    world.children[name] = replace(world.children[name], noticed=False)
    world.now += 15
    world.settle()


def _quota(world: World) -> None:
    world.settle()
    world.run_child(world.live)
    world.settle()
    world.result(world.live)
    world.end_child(world.live)
    world.refusal = Refusal("", "exceeded quota: team")
    world.settle()


def _user_error(world: World) -> None:
    name = work(world, "Prepare")
    world.result(name, outcome="Failed", cause="user", reason="InvalidData", message="train.jsonl:7: not JSON. Mend it")
    world.end_child(name)
    world.settle()


def _gate(world: World) -> None:
    name = work(world, "Evaluate")
    world.result(name, summary={"gate": {"passed": False, "reasons": ["gain 0.01 is below minGain 0.1"]}})
    world.end_child(name)
    world.settle()


def _between_attempts(world: World) -> None:
    name = work(world, "Train")
    world.result(name, outcome="Failed", cause="failure", reason="UserCodeError", message="it raised")
    world.end_child(name)
    world.settle()


def _deadline(world: World) -> None:
    world.spec = small_spec(activeDeadlineSeconds=100)
    work(world, "Generate")
    world.now += 101
    world.settle()


def _suspending(world: World) -> None:
    work(world, "Train")
    edit(world, suspend=True)
    world.settle()


def _suspended(world: World) -> None:
    _suspending(world)
    name = world.live
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.end_child(name)
    world.settle()


def _suspended_from_the_start(world: World) -> None:
    world.spec = small_spec(suspend=True)
    world.settle()


def _edited_when_suspended(world: World) -> None:
    _suspended(world)
    edit(world, suspend=True, childRetentionSeconds=1)
    world.settle()


def _cancelled_when_suspended(world: World) -> None:
    _suspended(world)
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()


def _resumed(world: World) -> None:
    _suspended(world)
    edit(world)
    world.settle()


def _held_by_a_finalizer(world: World) -> None:
    name = work(world, "Train")
    world.deleting, world.finalizers = True, ("example.com/block",)
    world.settle()
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.end_child(name)
    world.settle()


def _edit_not_seen(world: World) -> None:
    finish(world)
    edit(world, runID="second")


STATES: dict[str, Play] = {
    "not seen yet": lambda world: None,
    "s1 applied": lambda world: (world.step(), None)[1],
    "s1 first child made": lambda world: (world.settle(), None)[1],
    "s3 no claim": _refused,
    "s3 healed": _healed,
    "s5 edited in mid-run": _drifted,
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
    **{f"a1 {stage} at work": (lambda world, stage=stage: (work(world, stage), None)[1]) for stage in STAGES},
    "a1 succeeded": finish,
    "a1 succeeded and edited": _edited_when_over,
    "a1 an edit that was not seen": _edit_not_seen,
    "a3 a user's mistake": _user_error,
    "a4 the gate says no": _gate,
    "a6 between two attempts": _between_attempts,
    "a17 deadline": _deadline,
    "p1 suspending": _suspending,
    "p1 suspended": _suspended,
    "p1 suspended from the start": _suspended_from_the_start,
    "p1 suspended and edited": _edited_when_suspended,
    "p1 suspended and cancelled": _cancelled_when_suspended,
    "p2 resumed": _resumed,
    "p3 held by a finalizer": _held_by_a_finalizer,
}
