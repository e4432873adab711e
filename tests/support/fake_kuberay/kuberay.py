"""KubeRay's look at a RayJob: which event it finds first, in the order in which it asks. Pure.

Order: kuberay:ray-operator/controllers/ray/rayjob_controller.go Reconcile.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from support.fake_kuberay.child import RayJobInfo
from support.fake_kuberay.transitions import Event, stamp
from support.fake_kuberay.validation import find_fault

_OURS = "ray.io/kuberay-operator"
_SUBMITTERS = ("K8sJobMode", "SidecarMode")
POLL_SECONDS, CHECK_TIMEOUT_SECONDS, GRACE_SECONDS, SUBMITTER_SECONDS = 3.0, 300.0, 300.0, 30.0
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is outside of the RayJob: its cluster, the dashboard's answer, the submitter."""

    cluster: Values | None = None
    """The status of its RayCluster; None where there is none."""
    info: RayJobInfo | None = None
    """The dashboard's answer; None for "no such job"."""
    reachable: bool = True
    submitter: str = ""
    """Failed, Finished, or empty while it runs or where there is none."""
    submitter_ended: float = 0.0
    head: Literal["Ready", "Coming", "Gone"] = "Ready"


@dataclass(frozen=True, slots=True)
class Look:
    """One look: the RayJob, what is outside of it, and a clock that may run faster than the world's."""

    rayjob: Values
    seen: Seen
    now: float
    scale: float = 1.0
    """Real seconds for each second that KubeRay waits."""

    @property
    def spec(self) -> Values:
        spec: Values = self.rayjob["spec"]
        return spec

    @property
    def status(self) -> Values:
        return self.rayjob.get("status") or {}

    def is_over(self, since: str | None, seconds: float | None) -> bool:
        """Return whether so many of KubeRay's seconds have passed since a stored time."""
        if not since or seconds is None:
            return False
        return self.now - datetime.fromisoformat(since).timestamp() >= seconds * self.scale


def next_event(look: Look) -> Event | None:
    """Return what KubeRay would act on now; None where it only waits."""
    if look.spec.get("managedBy", _OURS) != _OURS:
        return None
    if "deletionTimestamp" in look.rayjob["metadata"]:
        return Event("Deleted")
    if fault := find_fault(look.rayjob):
        return Event("Invalid", {"message": fault})
    asked = _QUESTIONS[look.status.get("jobDeploymentStatus", "")]
    return next((event for ask in asked if (event := ask(look)) is not None), None)


def _is_new(look: Look) -> Event:
    name = look.rayjob["metadata"]["name"]
    return Event("Seen", {"jobId": f"{name}-{_suffix()}", "rayClusterName": f"{name}-{_suffix()}"})


def _suffix() -> str:
    return uuid.uuid4().hex[:5]


def _is_suspended(look: Look) -> Event | None:
    return Event("SuspendAsked") if look.spec.get("suspend") else None


def _is_resumed(look: Look) -> Event | None:
    return None if look.spec.get("suspend") else Event("ResumeAsked")


def _is_active_too_long(look: Look) -> Event | None:
    over = look.is_over(look.status.get("startTime"), look.spec.get("activeDeadlineSeconds"))
    return Event("ActiveDeadlineOver") if over else None


def _is_pending_too_long(look: Look) -> Event | None:
    over = look.is_over(look.status.get("startTime"), look.spec.get("preRunningDeadlineSeconds"))
    return Event("PreRunningDeadlineOver") if over else None


def _is_cluster_ready(look: Look) -> Event | None:
    cluster = look.seen.cluster
    if cluster is None:
        return None
    if cluster.get("state") != "ready":
        return Event("ClusterPending", {"rayClusterStatus": cluster})
    name, namespace = look.status["rayClusterName"], look.rayjob["metadata"]["namespace"]
    return Event("ClusterReady", {"dashboardURL": f"{name}-head-svc.{namespace}.svc.cluster.local:8265"})


def _has_job_id(look: Look) -> Event | None:
    return Event("JobIdGiven", {"jobId": look.spec["jobId"]}) if look.spec.get("jobId") else None


def _is_grace_over(look: Look) -> Event | None:
    ended = look.status.get("rayJobInfo", {}).get("endTime")
    over = look.status.get("jobStatus") in ("STOPPED", "SUCCEEDED", "FAILED") and look.is_over(ended, GRACE_SECONDS)
    return Event("GracePeriodOver") if over else None


def _is_check_over(look: Look) -> Event | None:
    over = look.is_over(look.status.get("jobStatusCheckFailureStartTime"), CHECK_TIMEOUT_SECONDS)
    return Event("CheckTimeoutOver") if over else None


def _has_submitter_failed(look: Look) -> Event | None:
    if _mode(look) == "SidecarMode" and look.seen.head == "Gone":
        return Event("HeadPodGone")
    failed = _mode(look) in _SUBMITTERS and look.seen.submitter == "Failed"
    return Event("SubmitterFailed", {"message": "the submitter's pod failed"}) if failed else None


def _is_submitter_long_done(look: Look) -> Event | None:
    waited = look.now - look.seen.submitter_ended
    done = _mode(look) in _SUBMITTERS and look.seen.submitter == "Finished"
    return Event("SubmitterTimeoutOver") if done and waited >= SUBMITTER_SECONDS * look.scale else None


def _mode(look: Look) -> str:
    return str(look.spec.get("submissionMode", "K8sJobMode"))


def _how_is_job(look: Look) -> Event | None:
    seen = look.seen
    if seen.cluster is None:
        return None  # KubeRay makes the cluster again first
    if not seen.reachable or seen.head != "Ready":
        return Event("CheckFailed")
    finished = seen.submitter == "Finished"
    if seen.info is None:
        return Event("JobNotFound", {"submitterFinished": finished})
    info = seen.info
    times = {name: stamp(at) for name, at in (("startTime", info.started), ("endTime", info.ended)) if at}
    return Event(
        "JobInfo",
        {
            "jobStatus": info.status,
            "message": info.message,
            "submitterFinished": finished,
            "rayClusterStatus": seen.cluster,
            **times,
        },
    )


def _is_cluster_gone(look: Look) -> Event | None:
    return Event("ResourcesGone") if look.seen.cluster is None else None


def _is_time_to_live_over(look: Look) -> Event | None:
    wanted = look.spec.get("shutdownAfterJobFinishes") and not look.spec.get("clusterSelector")
    if not wanted or look.seen.cluster is None:
        return None
    over = look.is_over(look.status.get("endTime"), look.spec.get("ttlSecondsAfterFinished", 0))
    return Event("TimeToLiveOver") if over else None


_QUESTIONS: dict[str, tuple[Callable[[Look], Event | None], ...]] = {
    "": (_is_new,),
    "Initializing": (_is_suspended, _is_active_too_long, _is_pending_too_long, _is_cluster_ready),
    "Waiting": (_is_pending_too_long, _has_job_id),
    "Running": (
        _is_suspended, _is_active_too_long, _is_grace_over, _is_check_over, _is_submitter_long_done,
        _has_submitter_failed, _how_is_job,
    ),
    "Suspending": (_is_cluster_gone,),
    "Retrying": (_is_cluster_gone,),
    "Suspended": (_is_resumed,),
    "Complete": (_is_time_to_live_over,),
    "Failed": (_is_time_to_live_over,),
    "ValidationFailed": (),
}  # fmt: skip
