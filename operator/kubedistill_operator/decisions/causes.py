"""Causes: why an attempt ended without success, and which budget that is charged to.

It implements the table "When an attempt ends" of docs/behavior.md, except A8 (progress.py) and A10 (failures.py). A
result of the driver names its cause; without a result, the evidence decides.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kubedistill.contract import StageResult
from kubedistill.errors import EXIT_BAD_JOB, EXIT_UNREPORTED
from kubedistill_operator.observed import Child, Pod

Cause = Literal["user", "failure", "infrastructure", "preemption"]
_CAUSES: tuple[Cause, ...] = ("user", "failure", "infrastructure", "preemption")

BACKOFF_SECONDS: dict[Cause, float] = {"user": 0, "failure": 10, "infrastructure": 5, "preemption": 0}
"""Delay of the first retry; it doubles with each further one."""
MAX_BACKOFF_SECONDS = 300.0

_PREEMPTED = (
    "Preempting",
    "PreemptionByScheduler",
    "TerminationByKubelet",
    "NodeShutdown",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
)
OOM_KILLED = "OOMKilled"
"""Kubelet's reason for a container that used more memory than its limit."""
_EVICTED, _BY_NODE = "Evicted", "The node "
"""Kubelet's reason for a pod that it evicted, and what its message contains if the node was short of a resource."""
_FORGOTTEN = ("ContainerStatusUnknown", "DeletionByPodGC")
"""Reasons of a pod that its node no longer knows, since the node was restarted or removed."""
_REJECTED = "Pod was rejected"
"""How kubelet's message begins for a pod that it did not accept; none of its containers ever ran."""
_EXIT_CODE = re.compile(r"failed with exit code (-?\d+)")
"""What Ray reports of a driver whose process ended by itself, but not of a driver that it lost."""
_BY_EXIT_CODE = {EXIT_UNREPORTED: "ChannelUnavailable", EXIT_BAD_JOB: "InvalidManifest"}
"""The reasons that a driver without a channel can report."""
_BY_EVIDENCE: dict[str, Cause] = {
    "ValidationFailed": "user", "Preempted": "preemption", "NodeLost": "infrastructure", "OutOfMemory": "failure",
    "StorageExceeded": "failure", "ChannelUnavailable": "infrastructure", "InvalidManifest": "user",
    "UserCodeError": "failure",
    "PodRejected": "infrastructure", "ChildVanished": "infrastructure", "HeadLost": "infrastructure",
}  # fmt: skip
"""What evidence may show, and its cause; the strongest first, since evidence disappears while we wait."""


@dataclass(frozen=True, slots=True)
class FailureCause:
    """Why an attempt ended."""

    cause: Cause
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What remains of an attempt whose driver left no result."""

    child: Child | None
    pods: Sequence[Pod]


Rule = Callable[[Evidence], FailureCause | None]
"""Returns what the evidence shows, or None."""


def cause_of_result(result: StageResult) -> FailureCause:
    """Return the cause that the result names; a driver that stopped unasked got SIGTERM, as evicted pods do."""
    if result.outcome == "Stopped":
        return FailureCause(
            "preemption", "Preempted", f"the driver was told to stop: {result.message or 'it has saved'}"
        )
    cause: Cause = next((known for known in _CAUSES if known == result.cause), "failure")
    return FailureCause(cause, result.reason or "UserCodeError", result.message or "the driver gave no reason")


def cause_of_evidence(evidence: Evidence) -> FailureCause:
    """Return what child and pods show; the first rule that matches counts."""
    return next(failure for rule in RULES if (failure := rule(evidence)) is not None)


def choose_strongest(failure: FailureCause, *, reason: str, message: str) -> FailureCause:
    """Return what is seen now, or what was seen before if that is stronger; an empty reason was nothing."""
    order = list(_BY_EVIDENCE)
    if reason not in _BY_EVIDENCE or order.index(reason) >= order.index(failure.reason):
        return failure
    return FailureCause(_BY_EVIDENCE[reason], reason, message)


def _found(reason: str, message: str) -> FailureCause:
    return FailureCause(_BY_EVIDENCE[reason], reason, message)


def _refused(evidence: Evidence) -> FailureCause | None:
    child = evidence.child
    if child is None or child.reason != "ValidationFailed":
        return None
    return _found("ValidationFailed", child.message)


def _preempted(evidence: Evidence) -> FailureCause | None:
    child = evidence.child
    if child is not None and child.evicted:
        return _found("Preempted", "the queue took back the quota")
    disrupted = next((pod for pod in evidence.pods if was_disrupted(pod)), None)
    return _found("Preempted", f"pod {disrupted.name} was removed from node {disrupted.node}") if disrupted else None


def was_disrupted(pod: Pod) -> bool:
    """Return whether a pod had to make room for others, or its node was taken away."""
    by_pressure = pod.exit_reason == _EVICTED and _BY_NODE in pod.exit_message
    return pod.exit_reason in _PREEMPTED or by_pressure or pod.node_tainted


def _node_lost(evidence: Evidence) -> FailureCause | None:
    lost = next((pod for pod in evidence.pods if pod.node_lost_since is not None), None)
    if lost is not None:
        return _found("NodeLost", f"node {lost.node} of pod {lost.name} is gone")
    forgotten = next((pod for pod in evidence.pods if pod.exit_reason in _FORGOTTEN), None)
    if forgotten is None:
        return None
    detail = forgotten.exit_message or forgotten.exit_reason
    return _found("NodeLost", f"node {forgotten.node} no longer knows pod {forgotten.name}: {detail}")


def _out_of_memory(evidence: Evidence) -> FailureCause | None:
    killed = next((pod for pod in evidence.pods if pod.exit_reason == OOM_KILLED), None)
    return _found("OutOfMemory", f"pod {killed.name} used more memory than its limit") if killed else None


def _storage_exceeded(evidence: Evidence) -> FailureCause | None:
    """Find a pod that was evicted for its own usage, and not for its node; kubelet's message names the limit."""
    full = next((pod for pod in evidence.pods if pod.exit_reason == _EVICTED and not was_disrupted(pod)), None)
    return _found("StorageExceeded", f"pod {full.name}: {full.exit_message or full.exit_reason}") if full else None


def _vanished(evidence: Evidence) -> FailureCause | None:
    return _found("ChildVanished", "the child was deleted") if evidence.child is None else None


def _driver_ended(evidence: Evidence) -> FailureCause | None:
    """Find a driver that ended: a Job's pod, but no Ray pod, which exits with 1 when its cluster is deleted."""
    child = evidence.child
    assert child is not None, "an absent child is ChildVanished"
    if child.kind == "RayJob":
        if child.reason != "AppFailed" or (ended := _EXIT_CODE.search(child.message)) is None:
            return None
        return _found(_reason_of(int(ended[1])), child.message)
    pod = next((pod for pod in evidence.pods if pod.exit_code), None)
    if pod is None:
        return None
    detail = f": {pod.exit_message}" if pod.exit_message else ""
    return _found(_reason_of(pod.exit_code), f"pod {pod.name} ended with exit code {pod.exit_code}{detail}")


def _reason_of(exit_code: int | None) -> str:
    """Return the reason that an exit code stands for."""
    return _BY_EXIT_CODE.get(exit_code or 0, "UserCodeError")


def _rejected(evidence: Evidence) -> FailureCause | None:
    """Find a pod that kubelet did not accept from the scheduler; a Ray cluster may have replaced it."""
    pod = next((one for one in evidence.pods if one.exit_message.startswith(_REJECTED)), None)
    return _found("PodRejected", f"node {pod.node}, pod {pod.name}: {pod.exit_message}") if pod else None


def _head_lost(evidence: Evidence) -> FailureCause | None:
    child = evidence.child
    assert child is not None, "an absent child is ChildVanished"
    return _found("HeadLost", child.message or f"{child.kind} ended ({child.reason or 'no reason'})")


RULES: tuple[Rule, ...] = (
    _refused,
    _preempted,
    _node_lost,
    _out_of_memory,
    _storage_exceeded,
    _vanished,
    _driver_ended,
    _rejected,
    _head_lost,
)


def backoff(cause: Cause, restarts: int) -> float:
    """Return the seconds to wait before the next attempt, after so many restarts of this cause."""
    return min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS[cause] * 2.0 ** min(16, max(0, restarts - 1)))
