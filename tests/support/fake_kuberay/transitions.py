"""RayJob as KubeRay 1.7 handles it: a table of (deployment status, event) -> status, each row with its source.

Read in KubeRay feeaf72fa (v1.7.0). Pure: times and names come with the event. Statuses are JSON values as stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Values = Mapping[str, Any]
Status = dict[str, Any]
EventName = Literal[
    "Invalid", "Seen", "SuspendAsked", "ActiveDeadlineOver", "PreRunningDeadlineOver", "ClusterPending",
    "ClusterReady", "JobIdGiven", "JobInfo", "JobNotFound", "CheckFailed", "CheckTimeoutOver", "SubmitterFailed",
    "SubmitterTimeoutOver", "GracePeriodOver", "HeadPodGone", "ResourcesGone", "ResumeAsked", "TimeToLiveOver",
    "Deleted",
]  # fmt: skip
Effect = Literal["", "Submit", "DeleteCluster", "RemoveFinalizer"]

FINALIZER = "ray.io/rayjob-finalizer"
"""kuberay:ray-operator/controllers/ray/utils/constant.go RayJobStopJobFinalizer."""
TERMINAL = ("Complete", "Failed")
"""kuberay:ray-operator/apis/ray/v1/rayjob_types.go IsJobDeploymentTerminal: ValidationFailed is none of them."""
JOB_TERMINAL = ("STOPPED", "SUCCEEDED", "FAILED")
"""kuberay:ray-operator/apis/ray/v1/rayjob_types.go IsJobTerminal."""
NEVER_RETRIED = ("DeadlineExceeded", "JobStatusCheckTimeoutExceeded")
DEPLOYMENT_STATUSES = (
    "", "Initializing", "Waiting", "Running", "Complete", "Failed", "ValidationFailed", "Suspending", "Suspended",
    "Retrying",
)  # fmt: skip
_CONTROLLER = "kuberay:ray-operator/controllers/ray/rayjob_controller.go"
EMPTY_CLUSTER = {"desiredCPU": "0", "desiredMemory": "0", "desiredGPU": "0", "desiredTPU": "0", "head": {}}
"""kuberay:ray-operator/apis/ray/v1/raycluster_types.go RayClusterStatus: what is written of one that says nothing."""
_CLEARED = (
    "rayClusterName", "dashboardURL", "jobId", "message", "reason", "jobStatusCheckFailureStartTime", "jobStatus",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """What KubeRay found when it looked, with what it read there."""

    name: EventName
    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One transition: where it starts, what causes it, the fields it sets (None: it does not apply), and the source."""

    states: tuple[str, ...]
    event: EventName
    change: Callable[[Values, Values, Values], Values | None]
    """(status, values of the event, spec) -> fields to set; a field set to None goes away."""
    source: str
    effect: Effect = ""
    counts: bool = True
    """Whether the failed and succeeded counters, and a retry, follow."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What KubeRay writes and does; status None where it writes nothing."""

    status: Status | None
    effect: Effect = ""


def apply(status: Values, event: Event, *, spec: Values, now: float) -> Outcome:
    """Return the first row that applies, then the counters and the rule on what is worth a write."""
    for row in ROWS:
        if row.event != event.name or status.get("jobDeploymentStatus", "") not in row.states:
            continue
        change = row.change(status, {**event.values, "now": stamp(now)}, spec)
        if change is None:
            continue
        new = _merge(status, change)
        if row.counts:
            new = _merge(new, _counters(new, spec))
        if not is_worth_a_write(status, new):
            return Outcome(None, row.effect)
        if new.get("jobDeploymentStatus") in TERMINAL:
            new["endTime"] = stamp(now)
        return Outcome(new, row.effect)
    return Outcome(None)


def is_worth_a_write(old: Values, new: Values) -> bool:
    """updateRayJobStatus: job, deployment, cluster or check timer must differ; a message alone is never stored."""
    fields = ("jobStatus", "jobDeploymentStatus", "jobStatusCheckFailureStartTime")
    if any(old.get(name, "") != new.get(name, "") for name in fields):
        return True
    return _telling(old.get("rayClusterStatus", {})) != _telling(new.get("rayClusterStatus", {}))


def stamp(now: float) -> str:
    """Return a time as Kubernetes stores it: RFC 3339 in whole seconds."""
    return datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")


def _telling(cluster: Values) -> Values:
    """utils/consistency.go InconsistentRayClusterStatus: the parts whose change counts."""
    names = (
        "state",
        "reason",
        "readyWorkerReplicas",
        "availableWorkerReplicas",
        "desiredWorkerReplicas",
        "minWorkerReplicas",
        "maxWorkerReplicas",
        "endpoints",
        "head",
        "conditions",
    )
    return {name: cluster[name] for name in names if cluster.get(name)}


def _counters(status: Values, spec: Values) -> Values:
    """checkBackoffLimitAndUpdateStatusIfNeeded: count, and turn a failure that may be repeated into Retrying."""
    deployment = status.get("jobDeploymentStatus")
    failed = status.get("failed", 0) + (deployment == "Failed")
    succeeded = status.get("succeeded", 0) + (deployment == "Complete" and status.get("jobStatus") == "SUCCEEDED")
    again = failed <= spec.get("backoffLimit", 0) and status.get("reason") not in NEVER_RETRIED
    state = "Retrying" if deployment == "Failed" and again else deployment
    return {"failed": failed, "succeeded": succeeded, "jobDeploymentStatus": state}


def _merge(status: Values, change: Values) -> Status:
    merged = {**status, **change}
    return {name: value for name, value in merged.items() if value is not None and value != ""}


def _reject(_status: Values, event: Values, _spec: Values) -> Values:
    return {"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed", "message": event["message"]}


def _begin(status: Values, event: Values, spec: Values) -> Values:
    chosen = None if _mode(spec) == "InteractiveMode" else spec.get("jobId") or event["jobId"]
    cluster = spec.get("clusterSelector", {}).get("ray.io/cluster") or event["rayClusterName"]
    return {
        "jobDeploymentStatus": "Initializing",
        "startTime": event["now"],
        "jobId": status.get("jobId") or chosen,
        "rayClusterName": status.get("rayClusterName") or cluster,
        "rayClusterStatus": EMPTY_CLUSTER,
        "rayJobInfo": {},
    }


def _to(deployment: str) -> Callable[[Values, Values, Values], Values]:
    return lambda _status, _event, _spec: {"jobDeploymentStatus": deployment}


def _fail(reason: str, message: str) -> Callable[[Values, Values, Values], Values]:
    return lambda _status, _event, _spec: {"jobDeploymentStatus": "Failed", "reason": reason, "message": message}


def _show_cluster(_status: Values, event: Values, _spec: Values) -> Values:
    return {"rayClusterStatus": event["rayClusterStatus"]}


def _cluster_ready(_status: Values, event: Values, spec: Values) -> Values:
    state = "Waiting" if _mode(spec) == "InteractiveMode" else "Running"
    return {"jobDeploymentStatus": state, "dashboardURL": event["dashboardURL"]}


def _adopt(_status: Values, event: Values, _spec: Values) -> Values:
    return {"jobDeploymentStatus": "Running", "jobId": event["jobId"]}


def _job_info(status: Values, event: Values, spec: Values) -> Values:
    """Only FAILED fails; with a submitter, the end waits for the submitter's end."""
    job, state, reason = event["jobStatus"], "Running", None
    closed = _mode(spec) not in ("K8sJobMode", "SidecarMode") or event.get("submitterFinished", False)
    if job in JOB_TERMINAL and closed:
        state, reason = ("Failed", "AppFailed") if job == "FAILED" else ("Complete", None)
    times = {name: event[name] for name in ("startTime", "endTime") if event.get(name)}
    return {
        "jobDeploymentStatus": state,
        "jobStatus": job,
        "reason": reason,
        "message": event.get("message"),
        "rayJobInfo": {**status.get("rayJobInfo", {}), **times},
        "jobStatusCheckFailureStartTime": None,
        "rayClusterStatus": event.get("rayClusterStatus", status.get("rayClusterStatus", {})),
    }


def _resubmit(_status: Values, _event: Values, spec: Values) -> Values | None:
    return {"jobStatusCheckFailureStartTime": None} if _mode(spec) == "HTTPMode" else None


def _unsubmitted(_status: Values, event: Values, _spec: Values) -> Values | None:
    if not event.get("submitterFinished"):
        return None
    return {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "submitted, but Ray knows no such job"}


def _start_timer(status: Values, event: Values, _spec: Values) -> Values | None:
    return None if status.get("jobStatusCheckFailureStartTime") else {"jobStatusCheckFailureStartTime": event["now"]}


def _check_timeout(status: Values, _event: Values, _spec: Values) -> Values | None:
    if not status.get("jobStatusCheckFailureStartTime"):
        return None
    return {
        "jobDeploymentStatus": "Failed",
        "reason": "JobStatusCheckTimeoutExceeded",
        "message": f"no answer from the dashboard since {status['jobStatusCheckFailureStartTime']}",
    }


def _submitter_failed(status: Values, event: Values, spec: Values) -> Values | None:
    if _mode(spec) not in ("K8sJobMode", "SidecarMode"):
        return None
    if status.get("jobStatus") == "FAILED":
        return {"jobDeploymentStatus": "Failed", "reason": "AppFailed"}
    return {"jobDeploymentStatus": "Failed", "reason": "SubmissionFailed", "message": event.get("message")}


def _submitter_timeout(_status: Values, _event: Values, spec: Values) -> Values | None:
    if _mode(spec) not in ("K8sJobMode", "SidecarMode"):
        return None
    return {
        "jobDeploymentStatus": "Failed",
        "jobStatus": "FAILED",
        "reason": "JobDeploymentStatusTransitionGracePeriodExceeded",
        "message": "the submitter ended long before the job",
    }


def _grace_over(status: Values, _event: Values, _spec: Values) -> Values | None:
    if status.get("jobStatus") not in JOB_TERMINAL or not status.get("rayJobInfo", {}).get("endTime"):
        return None
    return {
        "jobDeploymentStatus": "Failed" if status["jobStatus"] == "FAILED" else "Complete",
        "reason": "JobDeploymentStatusTransitionGracePeriodExceeded",
        "message": "the job ended, its submitter did not",
    }


def _head_gone(_status: Values, _event: Values, spec: Values) -> Values | None:
    if _mode(spec) != "SidecarMode":
        return None
    return {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "the head pod is gone"}


def _clear(status: Values, _event: Values, _spec: Values) -> Values:
    state = "Suspended" if status["jobDeploymentStatus"] == "Suspending" else None
    cleared = dict.fromkeys(_CLEARED)
    return {**cleared, "rayClusterStatus": EMPTY_CLUSTER, "rayJobInfo": {}, "jobDeploymentStatus": state}


def _renew(_status: Values, _event: Values, _spec: Values) -> Values:
    return {"jobStatus": None, "jobDeploymentStatus": None}


def _nothing(_status: Values, _event: Values, _spec: Values) -> Values:
    return {}


def _mode(spec: Values) -> str:
    """apis/ray/v1/rayjob_types.go: the default of submissionMode."""
    return str(spec.get("submissionMode", "K8sJobMode"))


ROWS: tuple[Row, ...] = (
    Row(DEPLOYMENT_STATUSES, "Deleted", _nothing, f"{_CONTROLLER} Reconcile, deletionTimestamp: StopJob is tried, then "
        "the finalizer goes whatever came of it", "RemoveFinalizer", counts=False),
    Row(DEPLOYMENT_STATUSES, "Invalid", _reject, f"{_CONTROLLER} Reconcile, validateRayJob: before the switch, so in "
        "every state; no case of the switch leaves ValidationFailed", counts=False),
    Row(("",), "Seen", _begin, f"{_CONTROLLER} Reconcile, New: finalizer, then initRayJobStatusIfNeed chooses the "
        "names and sets startTime, also after a retry and after a resume"),
    Row(("Initializing", "Running"), "SuspendAsked", _to("Suspending"),
        f"{_CONTROLLER} updateStatusToSuspendingIfNeeded: from these two states only"),
    Row(("Initializing", "Running"), "ActiveDeadlineOver", _fail("DeadlineExceeded", "activeDeadlineSeconds is over"),
        f"{_CONTROLLER} checkActiveDeadlineAndUpdateStatusIfNeeded: jobStatus stays what it was, RUNNING included"),
    Row(("Initializing", "Waiting"), "PreRunningDeadlineOver",
        _fail("PreRunningDeadlineExceeded", "preRunningDeadlineSeconds is over"),
        f"{_CONTROLLER} checkPreRunningDeadlineAndUpdateStatusIfNeeded"),
    Row(("Initializing",), "ClusterPending", _show_cluster,
        f"{_CONTROLLER} Reconcile, Initializing: the state of a cluster that is not ready is shown"),
    Row(("Initializing",), "ClusterReady", _cluster_ready,
        f"{_CONTROLLER} Reconcile, Initializing: dashboardURL, then Running, or Waiting in InteractiveMode"),
    Row(("Waiting",), "JobIdGiven", _adopt, f"{_CONTROLLER} Reconcile, Waiting: spec.jobId is adopted"),
    Row(("Running",), "JobInfo", _job_info, f"{_CONTROLLER} Reconcile, Running, GetJobInfo: STOPPED and SUCCEEDED end "
        "as Complete, FAILED as Failed; with a submitter once that has ended"),
    Row(("Running",), "JobNotFound", _resubmit, f"{_CONTROLLER} reconcileHTTPModeJobNotFound: the job is submitted, "
        "again where it had been; no counter sees it", "Submit"),
    Row(("Running",), "JobNotFound", _unsubmitted,
        f"{_CONTROLLER} Reconcile, Running, GetJobInfo not found: the submitter has ended"),
    Row(("Running",), "CheckFailed", _start_timer, f"{_CONTROLLER} recordJobStatusCheckFailure: the first one counts"),
    Row(("Running",), "CheckTimeoutOver", _check_timeout,
        f"{_CONTROLLER} checkJobStatusCheckTimeoutAndUpdateStatusIfNeeded: never retried"),
    Row(("Running",), "SubmitterFailed", _submitter_failed,
        f"{_CONTROLLER} checkSubmitterAndUpdateStatusIfNeeded: the Ray job may continue, jobStatus stays"),
    Row(("Running",), "SubmitterTimeoutOver", _submitter_timeout,
        f"{_CONTROLLER} checkSubmitterFinishedTimeoutAndUpdateStatusIfNeeded"),
    Row(("Running",), "GracePeriodOver", _grace_over,
        f"{_CONTROLLER} checkTransitionGracePeriodAndUpdateStatusIfNeeded"),
    Row(("Running",), "HeadPodGone", _head_gone,
        f"{_CONTROLLER} checkSubmitterAndUpdateStatusIfNeeded, SidecarMode: no head pod"),
    Row(("Suspending", "Retrying"), "ResourcesGone", _clear, f"{_CONTROLLER} Reconcile, Suspending and Retrying: once "
        "the cluster object is gone, its pods may live on; names, times of the job and timers are cleared"),
    Row(("Suspended",), "ResumeAsked", _renew, f"{_CONTROLLER} Reconcile, Suspended: back to New"),
    Row(TERMINAL, "TimeToLiveOver", _nothing, f"{_CONTROLLER} handleShutdownAfterJobFinishes: the cluster is deleted, "
        "the status stays", "DeleteCluster", counts=False),
)  # fmt: skip
