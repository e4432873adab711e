"""What the player's KubeRay asks first: its order decides which of several things it acts on."""

from typing import Any

import pytest

from support.fake_kuberay.child import RayJobInfo
from support.fake_kuberay.kuberay import CHECK_TIMEOUT_SECONDS, Look, Seen, next_event
from support.fake_kuberay.transitions import FINALIZER, stamp

NOW = 1_700_000_000.0
TEMPLATE = {"spec": {"containers": [{"name": "ray", "image": "ray"}]}}
SPEC = {
    "submissionMode": "HTTPMode", "shutdownAfterJobFinishes": True,
    "rayClusterSpec": {"headGroupSpec": {"template": TEMPLATE}},
}  # fmt: skip
READY, RUNS = Seen(cluster={"state": "ready"}), RayJobInfo("RUNNING", started=NOW)


def look(state: str, seen: Seen, *, spec: dict[str, Any] | None = None, scale: float = 1.0, **status: Any) -> Look:
    rayjob = {
        "metadata": {"name": "child", "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {**SPEC, **(spec or {})},
        "status": {"jobDeploymentStatus": state, "rayClusterName": "child-x", "startTime": stamp(NOW - 100), **status},
    }
    return Look(rayjob, seen, NOW, scale)


def found(where: Look) -> str:
    event = next_event(where)
    return event.name if event else ""


@pytest.mark.parametrize(
    ("where", "event"),
    [
        (look("", Seen()), "Seen"),
        (look("", Seen(), spec={"suspend": True}), "Seen"),
        (look("", Seen(), spec={"managedBy": "kueue.x-k8s.io/multikueue"}), ""),
        (look("Initializing", READY, spec={"suspend": True, "preRunningDeadlineSeconds": 1}), "SuspendAsked"),
        (look("Initializing", READY, spec={"activeDeadlineSeconds": 100}), "ActiveDeadlineOver"),
        (look("Initializing", READY, spec={"activeDeadlineSeconds": 101}), "ClusterReady"),
        (look("Initializing", READY, spec={"preRunningDeadlineSeconds": 100}), "PreRunningDeadlineOver"),
        (look("Initializing", READY, spec={"preRunningDeadlineSeconds": 1000}, scale=0.1), "PreRunningDeadlineOver"),
        (look("Initializing", Seen()), ""),
        (look("Initializing", Seen(cluster={})), "ClusterPending"),
        (look("Waiting", READY, spec={"submissionMode": "InteractiveMode"}), ""),
        (look("Waiting", READY, spec={"submissionMode": "InteractiveMode", "jobId": "a"}), "JobIdGiven"),
        (look("Running", Seen(READY.cluster, RUNS), spec={"suspend": True}), "SuspendAsked"),
        (look("Running", Seen(READY.cluster, RUNS), spec={"preRunningDeadlineSeconds": 1}), "JobInfo"),
        (look("Running", Seen(READY.cluster)), "JobNotFound"),
        (look("Running", Seen(None, RUNS)), ""),
        (look("Running", Seen(READY.cluster, RUNS, reachable=False)), "CheckFailed"),
        (
            look("Running", READY, jobStatusCheckFailureStartTime=stamp(NOW - CHECK_TIMEOUT_SECONDS)),
            "CheckTimeoutOver",
        ),
        (look("Running", Seen(READY.cluster, RUNS, submitter="Failed")), "JobInfo"),
        (
            look("Running", Seen(READY.cluster, RUNS, submitter="Failed"), spec={"submissionMode": "K8sJobMode"}),
            "SubmitterFailed",
        ),
        (
            look(
                "Running", Seen(READY.cluster, RUNS, submitter="Finished", submitter_ended=NOW - 30),
                spec={"submissionMode": "K8sJobMode"},
            ),
            "SubmitterTimeoutOver",
        ),
        (look("Running", Seen(READY.cluster, head="Coming")), "CheckFailed"),
        (look("Running", Seen(READY.cluster, head="Gone")), "CheckFailed"),
        (look("Running", Seen(READY.cluster, head="Gone"), spec={"submissionMode": "SidecarMode"}), "HeadPodGone"),
        (
            look("Running", READY, jobStatus="SUCCEEDED", rayJobInfo={"endTime": stamp(NOW - 300)}),
            "GracePeriodOver",
        ),
        (look("Suspending", READY), ""),
        (look("Suspending", Seen()), "ResourcesGone"),
        (look("Retrying", Seen()), "ResourcesGone"),
        (look("Suspended", Seen(), spec={"suspend": True}), ""),
        (look("Suspended", Seen()), "ResumeAsked"),
        (look("Complete", READY, endTime=stamp(NOW)), "TimeToLiveOver"),
        (look("Complete", READY, endTime=stamp(NOW), spec={"ttlSecondsAfterFinished": 10}), ""),
        (look("Complete", READY, endTime=stamp(NOW - 5), spec={"ttlSecondsAfterFinished": 60}, scale=0.1), ""),
        (
            look("Complete", READY, endTime=stamp(NOW - 6), spec={"ttlSecondsAfterFinished": 60}, scale=0.1),
            "TimeToLiveOver",
        ),
        (look("Complete", READY, endTime=stamp(NOW), spec={"shutdownAfterJobFinishes": False}), ""),
        (look("Failed", Seen(), endTime=stamp(NOW)), ""),
        (look("ValidationFailed", READY), ""),
    ],
)  # fmt: skip
def test_first_event(where: Look, event: str) -> None:
    assert found(where) == event


def test_a_deletion_comes_before_everything() -> None:
    where = look("Running", READY, spec={"ttlSecondsAfterFinished": -1})
    where.rayjob["metadata"]["deletionTimestamp"] = stamp(NOW)
    assert found(where) == "Deleted"


def test_names_are_chosen_again_each_time() -> None:
    first, second = next_event(look("", Seen())), next_event(look("", Seen()))
    assert first is not None
    assert second is not None
    assert first.values != second.values
    assert all(value.startswith("child-") for value in first.values.values())
