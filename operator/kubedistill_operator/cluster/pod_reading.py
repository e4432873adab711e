"""Reading pods and their nodes: why a pod waits, how it ended, and whether anything of it can still run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast, get_args

from kubedistill_operator.clock import seconds_of
from kubedistill_operator.cluster.child_reading import clip
from kubedistill_operator.cluster.json_values import condition, items, part
from kubedistill_operator.names import CONTAINERS, DRIVER_CONTAINER
from kubedistill_operator.observed import ContainerState, Pod, PodPhase, Resource

_PHASES: Final = get_args(PodPhase)
_LINE = 300
"""Maximum length of what a container or kubelet says about an end."""
_RAY_NODE_TYPE = "ray.io/node-type"
"""KubeRay's label of the pods of a Ray cluster."""
_ORDINARY_WAITS = ("", "PodInitializing", "ContainerCreating")
_LEAVING_TAINTS = frozenset(
    {
        "node.kubernetes.io/unschedulable",  # cordoned: what comes before a drain
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
        "cloud.google.com/impending-node-termination",
        "aws-node-termination-handler/spot-itn",
        "aws-node-termination-handler/scheduled-maintenance",
        "aws-node-termination-handler/asg-lifecycle-termination",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """The properties of a node that matter."""

    lost_since: float | None = None
    """Since when it is absent or NotReady."""
    tainted: bool = False
    """Whether it is being removed."""


def read_node(resource: Resource) -> Node:
    """Read a node that exists."""
    ready = condition(part(resource, "status"), "Ready")
    lost = None
    if ready.get("status") != "True":
        lost = seconds_of(str(ready.get("lastTransitionTime") or "")) or _created(resource)
    taints = (one.get("key") for one in items(part(resource, "spec"), "taints"))
    return Node(lost_since=lost, tainted=any(key in _LEAVING_TAINTS for key in taints))


def read_pod(resource: Resource, *, node: Node | None = None) -> Pod:
    """Read a pod; `node` is the one it runs on, if that is known."""
    metadata, status = resource["metadata"], part(resource, "status")
    phase = status.get("phase")
    waiting_reason, waiting_message = _why_waiting(status)
    exit_code, exit_reason, exit_message = _how_ended(status)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=cast(PodPhase, phase) if phase in _PHASES else "Unknown",
        created=_created(resource),
        node=node_name(resource),
        waiting_reason=clip(waiting_reason),
        waiting_message=clip(waiting_message),
        exit_code=exit_code,
        exit_reason=clip(exit_reason),
        exit_message=clip(exit_message, _LINE),
        restarts=max(map(_restarts, _containers(status)), default=0),
        is_worker=(metadata.get("labels") or {}).get(_RAY_NODE_TYPE) == "worker",
        is_idle=phase == "Pending" and bool(node_name(resource)) and not any(map(_has_run, _containers(status))),
        ready_since=_ready_since(status),
        driver=next((_state(one) for one in _containers(status) if one.get("name") == DRIVER_CONTAINER), ""),
        deleting="deletionTimestamp" in metadata,
        ends_by=seconds_of(str(metadata.get("deletionTimestamp") or "")),
        node_lost_since=node.lost_since if node else None,
        node_tainted=node.tainted if node else False,
    )


def node_name(resource: Resource) -> str:
    """Return the node that a pod is bound to; empty before it is."""
    return str(part(resource, "spec").get("nodeName") or "")


def may_run(resource: Resource) -> bool:
    """Return whether something of a pod may run, by its own phase."""
    return part(resource, "status").get("phase") not in ("Succeeded", "Failed")


def _why_waiting(status: Resource) -> tuple[str, str]:
    """Return (reason, message): those of a container that can't start take precedence over scheduling."""
    waits = [wait for one in _containers(status) if (wait := part(part(one, "state"), "waiting"))]
    for wait in waits:
        if (reason := str(wait.get("reason") or "")) not in _ORDINARY_WAITS:
            return reason, str(wait.get("message") or "")
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason") or ""), str(scheduled.get("message") or "")
    return (str(waits[0].get("reason") or ""), str(waits[0].get("message") or "")) if waits else ("", "")


def _how_ended(status: Resource) -> tuple[int | None, str, str]:
    """Return (exit code, reason, message): an eviction takes precedence over how the last container ended.

    Containers that a webhook has added may end at any time, often after ours: they count only if none of ours has ended
    and the pod does not run.
    """
    ours = [end for one in _containers(status) if one.get("name") in CONTAINERS for end in _ends(one)]
    others = [] if _ready_since(status) is not None else _containers(status)
    ends = ours or [end for one in others for end in _ends(one)]
    last = max(ends, key=lambda end: seconds_of(str(end.get("finishedAt") or "")) or 0.0, default={})
    code = last.get("exitCode")
    target = condition(status, "DisruptionTarget")
    disrupted = str(target.get("reason") or "") if target.get("status") == "True" else ""
    reason = disrupted or str(status.get("reason") or "") or str(last.get("reason") or "")
    message = str(status.get("message") or "") or _last_line(str(last.get("message") or ""))
    return (code if isinstance(code, int) else None), reason, message


def _last_line(text: str) -> str:
    """Return the last nonempty line of a container's log; kubelet keeps the end of the log of a failed container."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _state(container: Resource) -> ContainerState:
    state = part(container, "state")
    return "Ended" if "terminated" in state else "Running" if "running" in state else "Waiting"


def _has_run(container: Resource) -> bool:
    return _state(container) != "Waiting" or any(_ends(container))


def _restarts(container: Resource) -> int:
    count = container.get("restartCount")
    return count if isinstance(count, int) else 0


def _ready_since(status: Resource) -> float | None:
    """Return since when all containers of a pod are ready; None if one is not."""
    ready = condition(status, "Ready")
    return seconds_of(str(ready.get("lastTransitionTime") or "")) or 0.0 if ready.get("status") == "True" else None


def _ends(container: Resource) -> Iterator[Resource]:
    """Yield how a container ended, now and before its last restart in place."""
    for state in ("state", "lastState"):
        if end := part(part(container, state), "terminated"):
            yield end


def _containers(status: Resource) -> list[Resource]:
    return [*items(status, "initContainerStatuses"), *items(status, "containerStatuses")]


def _created(resource: Resource) -> float:
    return seconds_of(str(part(resource, "metadata").get("creationTimestamp") or "")) or 0.0
