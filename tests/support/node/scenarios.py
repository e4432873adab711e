"""What is tried on the node, by name. Each raises ScenarioFailed where a job does not do what is asked for."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from support.kube_api import wait_for
from support.node.context import JOBS, NodeContext, Object, Outcome, ScenarioFailed, digests, trains_again

_MINUTE = 60.0


def quickstart(context: NodeContext) -> Outcome:
    """Run the quickstart as it is, to the judged and exported student."""
    applied = context.apply("quickstart")
    status = context.succeed("quickstart", seconds=1800)
    wall = context.measure("quickstart", applied=applied)
    return Outcome("quickstart", wall.seconds, status["message"], (wall,))


def head_killed(context: NodeContext) -> Outcome:
    """SIGKILL for the head's container in Train: KubeRay submits again, and the second driver continues."""
    began = context.apply("head-killed", trains_again(seed=1))
    context.train("head-killed")
    heads = [pod for pod in context.pods("head-killed") if pod["metadata"]["labels"].get("ray.io/node-type") == "head"]
    (container,) = heads[0]["status"]["containerStatuses"]
    context.node.ctr("tasks", "kill", "--signal", "SIGKILL", container["containerID"].removeprefix("containerd://"))
    context.succeed("head-killed")
    train = context.stage("head-killed", "Train")
    if train["starts"] != 2 or train["restarts"].get("infrastructure") != 1:
        raise ScenarioFailed(f"a second start that is charged to infrastructure is missing: {json.dumps(train)}")
    return Outcome("head killed in Train", time.time() - began, "2 starts, 1 charged to infrastructure, Succeeded")


def suspended(context: NodeContext) -> Outcome:
    """Suspend in Train until all pods are gone, then resume to the end."""
    began = context.apply("suspended", trains_again(seed=2))
    context.train("suspended")
    context.patch("suspended", {"spec": {"suspend": True}})
    asked = time.time()
    context.until("suspended", lambda status: status.get("phase") == "Suspended", what="Suspended", seconds=180)
    took = time.time() - asked
    wait_for(lambda: not context.pods("suspended"), what="no pod of a suspended job runs", seconds=120)
    context.patch("suspended", {"spec": {"suspend": False}})
    context.succeed("suspended")
    charged = {name: count for name, count in context.stage("suspended", "Train")["restarts"].items() if count}
    if charged:
        raise ScenarioFailed(f"a suspension was charged: {charged}")
    return Outcome("suspend and resume", time.time() - began, f"Suspended {took:.0f} s after it was asked, Succeeded")


def twins(context: NodeContext) -> Outcome:
    """Run two jobs of the same work at once: one makes each artifact, the other waits for it."""
    names = ("twin-1", "twin-2")
    kept: dict[Path, dict[str, str]] = {}
    waited: set[str] = set()

    def has_succeeded(status: Object) -> bool:
        for name in names:
            if _is_false("QuotaReserved", "SharedArtifact")(context.status(name)):
                waited.add(name)
            kept.update({folder: digests(folder) for folder in context.artifacts(name) if folder not in kept})
        return status.get("phase") == "Succeeded"

    applied = {name: context.apply(name, trains_again(seed=4)) for name in names}
    for name in names:
        context.until(name, has_succeeded, what="Succeeded", seconds=1800)
    ran = [{stage["name"]: stage["state"] for stage in context.status(name)["stages"]} for name in names]
    made = [
        stage
        for stage in ("Generate", "Curate", "Train", "Evaluate", "Export")
        if {one[stage] for one in ran} == {"Succeeded", "Skipped"}
    ]
    if len(made) < len(ran[0]) - 1 or not waited:
        raise ScenarioFailed(f"only {made} were made by one job alone; waited: {waited}; {json.dumps(ran)}")
    changed = [str(folder) for folder, files in kept.items() if digests(folder) != files]
    if changed:
        raise ScenarioFailed(f"changed after they were complete: {', '.join(changed)}")
    walls = tuple(
        context.measure(name, applied=applied[name], shared_with=other)
        for name, other in zip(names, reversed(names), strict=True)
    )
    seen = f"{', '.join(made)} ran once; {len(kept)} artifacts stay as they were first complete; both Succeeded"
    return Outcome("two jobs of the same work", max(wall.seconds for wall in walls), seen, walls)


def kuberay_away(context: NodeContext) -> Outcome:
    """KubeRay away for a minute: before it sees a RayJob, at the end of Train, and while a cluster gets ready."""
    name = "kuberay-away"

    def is_made(stage: str) -> bool:
        return bool(context.stage(name, stage).get("childUID"))

    def has_ended(stage: str) -> bool:
        return bool(context.stage(name, stage).get("state") == "Succeeded")

    seen = []
    with context.kuberay_away():
        applied = context.apply(name, trains_again(seed=5))
        context.until(name, lambda _: any(map(is_made, ("Generate", "Train"))), what="a RayJob", seconds=300)
        seen.append(f"a new RayJob: {_absence(context, name)}")
    context.until(name, lambda _: bool(context.stage(name, "Train").get("starts")), what="Train's driver", seconds=900)
    with context.kuberay_away():
        context.until(name, lambda _: has_ended("Train"), what="Train ends", seconds=600)
        seen.append(f"Train's end: {_absence(context, name)}")
    context.until(name, lambda _: len(_pods_of(context, name, "Evaluate")) == 2, what="Evaluate's pods", seconds=300)
    with context.kuberay_away():
        wait_for(lambda: all(map(_is_ready, _pods_of(context, name, "Evaluate"))), what="they are ready", seconds=300)
        seen.append(f"a cluster that is ready: {_absence(context, name)}")
    context.succeed(name)
    stages = context.status(name)["stages"]
    charged = {one["name"]: one["restarts"] for one in stages if any((one.get("restarts") or {}).values())}
    again = [one["name"] for one in stages if one.get("attempt", 0) > 1 and one["name"] != "Prepare"]
    if charged or again:
        raise ScenarioFailed(f"KubeRay's absence was charged: {charged}, or began attempts again: {again}")
    wall = context.measure(name, applied=applied)
    return Outcome("KubeRay away for a minute, three times", wall.seconds, "; ".join(seen), (wall,))


def _absence(context: NodeContext, name: str) -> str:
    """Wait until a job says that KubeRay is absent, then for the rest of a minute; what it says of the pods."""
    began = time.time()
    is_told = _is_false("Progressing", "KubeRayAbsent")
    status = context.until(name, is_told, what="KubeRayAbsent", seconds=_MINUTE)
    took = time.time() - began
    message = next(one["message"] for one in status["conditions"] if one["type"] == "Progressing")
    missing = [pod["metadata"]["name"] for pod in context.pods(name) if pod["metadata"]["name"] not in message]
    if missing:
        raise ScenarioFailed(f"pods that run and are not named: {', '.join(missing)}; it says: {message}")
    time.sleep(max(0.0, began + _MINUTE - time.time()))
    if not is_told(context.status(name)):
        raise ScenarioFailed(f"KubeRayAbsent was taken back while KubeRay is away: {json.dumps(context.status(name))}")
    return f"KubeRayAbsent after {took:.0f} s, {len(context.pods(name))} pods named"


def _is_false(condition: str, reason: str) -> Callable[[Object], bool]:
    def look(status: Object) -> bool:
        found = ((one["type"], one["status"], one["reason"]) for one in status.get("conditions", ()))
        return (condition, "False", reason) in found

    return look


def _pods_of(context: NodeContext, name: str, stage: str) -> list[Object]:
    return [pod for pod in context.pods(name) if pod["metadata"]["labels"]["kubedistill.io/stage"] == stage]


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def deleted(context: NodeContext) -> Outcome:
    """Delete a job in Train, and those of the scenarios before: nothing of them is left but the store."""
    began = context.apply("deleted", trains_again(seed=3))
    context.train("deleted")
    asked = time.time()
    for job in context.api.list(JOBS, namespace=context.namespace):
        context.api.delete(JOBS, job["metadata"]["name"], namespace=context.namespace, propagation="Foreground")
    try:
        wait_for(lambda: not context.left(), what="nothing is left", seconds=180)
    except AssertionError as error:
        raise ScenarioFailed(f"{error}; there are: {', '.join(context.left())}") from error
    return Outcome("deletion in Train", time.time() - began, f"nothing left {time.time() - asked:.0f} s after it")


SCENARIOS: Mapping[str, Callable[[NodeContext], Outcome]] = {
    "quickstart": quickstart, "head-killed": head_killed, "suspended": suspended, "twins": twins,
    "kuberay-away": kuberay_away, "deleted": deleted,
}  # fmt: skip
