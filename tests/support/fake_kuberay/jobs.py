"""batch/v1 Jobs as Kubernetes 1.34's Job controller handles them: a table of (state, event) -> status. Pure.

One pod at a time, as our Jobs have it. What a Job's state is, its status says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from support.fake_kuberay.api import Object
from support.fake_kuberay.child import is_ready
from support.fake_kuberay.transitions import stamp

Values = Mapping[str, Any]
State = Literal["New", "Active", "Suspended", "Complete", "Failed"]
EventName = Literal["Seen", "SuspendAsked", "ResumeAsked", "PodsMoved", "PodSucceeded", "PodsFailed", "DeadlineOver"]
Effect = Literal["", "CreatePod", "DeletePods"]
_CONTROLLER = "kubernetes:pkg/controller/job/job_controller.go"
_DEFAULT_BACKOFF = 6


@dataclass(frozen=True, slots=True)
class Look:
    """A Job and its pods at one moment; `scale` is real seconds for each second that the controller waits."""

    job: Values
    pods: Sequence[Object]
    now: float
    scale: float = 1.0

    @property
    def spec(self) -> Values:
        spec: Values = self.job["spec"]
        return spec

    @property
    def status(self) -> Values:
        return self.job.get("status") or {}

    @property
    def live(self) -> list[Object]:
        """Pods that may still do something."""
        return [pod for pod in self.pods if not _is_over(pod) and "deletionTimestamp" not in pod["metadata"]]

    @property
    def failed(self) -> int:
        """Pods that failed, those that were counted and have gone included."""
        return max(self.status.get("failed", 0), sum(_phase(pod) == "Failed" for pod in self.pods))


@dataclass(frozen=True, slots=True)
class Row:
    """One transition: where it starts, what causes it, the new status, what is done, and the source."""

    states: tuple[State, ...]
    event: EventName
    change: Callable[[Look], Values]
    source: str
    effect: Effect = ""


def state_of(status: Values) -> State:
    """Complete and Failed are for good."""
    states = {one["type"]: one["status"] for one in status.get("conditions", [])}
    for name in ("Complete", "Failed", "Suspended"):
        if states.get(name) == "True":
            return name
    return "Active" if status.get("startTime") else "New"


def next_event(look: Look) -> EventName | None:
    """Return what the controller would act on now, in its order; None where all is as it should be."""
    state, suspend = state_of(look.status), bool(look.spec.get("suspend"))
    if state in ("Complete", "Failed") or "deletionTimestamp" in look.job["metadata"]:
        return None
    if suspend:
        return "SuspendAsked" if state != "Suspended" else "PodsMoved" if _counts_differ(look) else None
    if state == "Suspended":
        return "ResumeAsked"
    if _is_late(look):
        return "DeadlineOver"
    if any(_phase(pod) == "Succeeded" for pod in look.pods):
        return "PodSucceeded"
    if look.failed > look.spec.get("backoffLimit", _DEFAULT_BACKOFF):
        return "PodsFailed"
    if not look.live:
        return "Seen"
    return "PodsMoved" if _counts_differ(look) else None


def apply(look: Look, event: EventName) -> tuple[Object, Effect]:
    """Return the status after an event, and what is done besides.

    Raises KeyError for what can't happen in this state.
    """
    row = next((row for row in ROWS if row.event == event and state_of(look.status) in row.states), None)
    if row is None:
        raise KeyError(f"{event} in {state_of(look.status)}")
    return {name: value for name, value in {**look.status, **row.change(look)}.items() if value is not None}, row.effect


def _start(look: Look) -> Values:
    return {
        "startTime": look.status.get("startTime") or stamp(look.now),
        "failed": look.failed or None,
        **_counts(look),
    }


def _suspend(look: Look) -> Values:
    condition = _condition(look, "Suspended", "True", "JobSuspended", "the Job is suspended")
    return {"startTime": None, "active": None, "ready": 0, "conditions": condition}


def _resume(look: Look) -> Values:
    condition = _condition(look, "Suspended", "False", "JobResumed", "the Job was resumed")
    return {"startTime": stamp(look.now), "conditions": condition}


def _move(look: Look) -> Values:
    return _counts(look)


def _complete(look: Look) -> Values:
    conditions = look.status.get("conditions", [])
    for name in ("SuccessCriteriaMet", "Complete"):
        conditions = _put(conditions, name, "True", "CompletionsReached", "the pod succeeded", look.now)
    return {
        "startTime": look.status.get("startTime") or stamp(look.now),
        "completionTime": stamp(look.now),
        "succeeded": 1,
        "active": None,
        "ready": 0,
        "terminating": 0,
        "conditions": conditions,
        "uncountedTerminatedPods": {},
    }


def _fail(reason: str, message: str) -> Callable[[Look], Values]:
    def change(look: Look) -> Values:
        conditions = look.status.get("conditions", [])
        for name in ("FailureTarget", "Failed"):
            conditions = _put(conditions, name, "True", reason, message, look.now)
        return {
            "startTime": look.status.get("startTime") or stamp(look.now),
            "failed": look.failed or None,
            "active": None,
            "ready": 0,
            "terminating": 0,
            "conditions": conditions,
            "uncountedTerminatedPods": {},
        }

    return change


def _counts(look: Look) -> Values:
    terminating = sum("deletionTimestamp" in pod["metadata"] and not _is_over(pod) for pod in look.pods)
    return {
        "active": len(look.live) or None,
        "ready": sum(map(is_ready, look.live)),
        "terminating": terminating,
        "uncountedTerminatedPods": {},
    }


def _counts_differ(look: Look) -> bool:
    return any((look.status.get(name) or 0) != (value or 0) for name, value in _counts(look).items() if name[0] != "u")


def _is_late(look: Look) -> bool:
    seconds, since = look.spec.get("activeDeadlineSeconds"), look.status.get("startTime")
    if seconds is None or since is None:
        return False
    return look.now - datetime.fromisoformat(since).timestamp() >= seconds * look.scale


def _is_over(pod: Object) -> bool:
    return _phase(pod) in ("Succeeded", "Failed")


def _phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def _condition(look: Look, name: str, status: str, reason: str, message: str) -> list[Object]:
    return _put(look.status.get("conditions", []), name, status, reason, message, look.now)


def _put(conditions: Sequence[Object], name: str, status: str, reason: str, message: str, now: float) -> list[Object]:
    made = {
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "lastProbeTime": stamp(now),
        "lastTransitionTime": stamp(now),
    }
    return [*(one for one in conditions if one["type"] != name), made]


ROWS: tuple[Row, ...] = (
    Row(("New", "Active"), "Seen", _start, f"{_CONTROLLER} syncJob: startTime where there is none; manageJob: a pod",
        "CreatePod"),
    Row(("New", "Active"), "SuspendAsked", _suspend, f"{_CONTROLLER} manageJob, suspended: pods are deleted, the "
        "condition says JobSuspended, startTime goes", "DeletePods"),
    Row(("Suspended",), "ResumeAsked", _resume, f"{_CONTROLLER} syncJob: the condition says JobResumed, startTime is "
        "reset"),
    Row(("New", "Active", "Suspended"), "PodsMoved", _move, f"{_CONTROLLER} syncJob: active, ready, terminating"),
    Row(("New", "Active"), "PodSucceeded", _complete, f"{_CONTROLLER} newSuccessCondition, enactJobFinished: "
        "SuccessCriteriaMet, then Complete"),
    Row(("New", "Active"), "PodsFailed", _fail("BackoffLimitExceeded", "the pod failed once too often"),
        f"{_CONTROLLER} syncJob, exceedsBackoffLimit: FailureTarget, then Failed", "DeletePods"),
    Row(("New", "Active"), "DeadlineOver", _fail("DeadlineExceeded", "activeDeadlineSeconds is over"),
        f"{_CONTROLLER} syncJob, pastActiveDeadline: FailureTarget, then Failed", "DeletePods"),
)  # fmt: skip
