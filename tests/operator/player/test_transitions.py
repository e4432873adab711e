"""RayJob's life in the player: every transition of KubeRay 1.7 by a table, and no way out of the documented graph."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_kuberay.transitions import (
    DEPLOYMENT_STATUSES,
    EMPTY_CLUSTER,
    JOB_TERMINAL,
    NEVER_RETRIED,
    ROWS,
    Event,
    Outcome,
    apply,
)

NOW, LATER = 1_700_000_000.0, 1_700_000_600.0
HTTP: dict[str, Any] = {"submissionMode": "HTTPMode", "backoffLimit": 0}
K8S: dict[str, Any] = {"submissionMode": "K8sJobMode", "backoffLimit": 0}
INTERACTIVE: dict[str, Any] = {"submissionMode": "InteractiveMode"}
NAMES = {"jobId": "a-1", "rayClusterName": "a-2"}
READY = {"state": "ready"}
EDGES = {
    "": {"Initializing"},
    "Initializing": {"Waiting", "Running", "Suspending", "Failed", "Retrying"},
    "Waiting": {"Running", "Failed", "Retrying"},
    "Running": {"Complete", "Failed", "Retrying", "Suspending"},
    "Suspending": {"Suspended"},
    "Suspended": {""},
    "Retrying": {""},
    "Complete": set(),
    "Failed": set(),
    "ValidationFailed": set(),
}
"""The graph of KubeRay 1.7, but for ValidationFailed, which every state may turn into and none leaves."""


def at(state: str, **more: Any) -> dict[str, Any]:
    return {**({"jobDeploymentStatus": state} if state else {}), **more}


def after(
    status: dict[str, Any], name: Any, *, spec: dict[str, Any] = HTTP, now: float = NOW, **values: Any
) -> Outcome:
    return apply(status, Event(name, values), spec=spec, now=now)


def written(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status is not None
    return outcome.status


@pytest.mark.parametrize(
    ("status", "event", "spec", "expected"),
    [
        (at(""), Event("Seen", NAMES), HTTP, at("Initializing", **NAMES)),
        (at(""), Event("Seen", NAMES), {**HTTP, "jobId": "mine"}, at("Initializing", jobId="mine")),
        (at(""), Event("Seen", NAMES), INTERACTIVE, at("Initializing", rayClusterName="a-2")),
        (
            at(""), Event("Seen", NAMES), {**HTTP, "clusterSelector": {"ray.io/cluster": "other"}},
            at("Initializing", rayClusterName="other"),
        ),
        (at("Initializing"), Event("ClusterReady", {"dashboardURL": "u"}), HTTP, at("Running", dashboardURL="u")),
        (at("Initializing"), Event("ClusterReady", {"dashboardURL": "u"}), INTERACTIVE, at("Waiting")),
        (at("Waiting"), Event("JobIdGiven", {"jobId": "mine"}), INTERACTIVE, at("Running", jobId="mine")),
        (at("Running"), Event("JobInfo", {"jobStatus": "PENDING"}), HTTP, at("Running", jobStatus="PENDING")),
        (at("Running"), Event("JobInfo", {"jobStatus": "RUNNING"}), HTTP, at("Running", jobStatus="RUNNING")),
        (at("Running"), Event("JobInfo", {"jobStatus": "SUCCEEDED"}), HTTP, at("Complete", jobStatus="SUCCEEDED")),
        (at("Running"), Event("JobInfo", {"jobStatus": "STOPPED"}), HTTP, at("Complete", jobStatus="STOPPED")),
        (
            at("Running"), Event("JobInfo", {"jobStatus": "FAILED"}), HTTP,
            at("Failed", jobStatus="FAILED", reason="AppFailed"),
        ),
        (at("Running"), Event("JobInfo", {"jobStatus": "SUCCEEDED"}), K8S, at("Running", jobStatus="SUCCEEDED")),
        (
            at("Running"), Event("JobInfo", {"jobStatus": "SUCCEEDED", "submitterFinished": True}), K8S,
            at("Complete", jobStatus="SUCCEEDED"),
        ),
        (at("Initializing"), Event("PreRunningDeadlineOver"), HTTP, at("Failed", reason="PreRunningDeadlineExceeded")),
        (at("Waiting"), Event("PreRunningDeadlineOver"), HTTP, at("Failed", reason="PreRunningDeadlineExceeded")),
        (
            at("Running", jobStatus="RUNNING"), Event("ActiveDeadlineOver"), HTTP,
            at("Failed", jobStatus="RUNNING", reason="DeadlineExceeded"),
        ),
        (
            at("Running", jobStatus="RUNNING"), Event("SubmitterFailed", {"message": "gone"}), K8S,
            at("Failed", jobStatus="RUNNING", reason="SubmissionFailed", message="gone"),
        ),
        (
            at("Running", jobStatus="FAILED"), Event("SubmitterFailed"), K8S,
            at("Failed", jobStatus="FAILED", reason="AppFailed"),
        ),
        (
            at("Running", jobStatus="RUNNING"), Event("SubmitterTimeoutOver"), K8S,
            at("Failed", jobStatus="FAILED", reason="JobDeploymentStatusTransitionGracePeriodExceeded"),
        ),
        (
            at("Running"), Event("JobNotFound", {"submitterFinished": True}), K8S, at("Failed", reason="AppFailed"),
        ),
        (
            at("Running", jobStatus="SUCCEEDED", rayJobInfo={"endTime": "2023"}), Event("GracePeriodOver"), K8S,
            at("Complete", reason="JobDeploymentStatusTransitionGracePeriodExceeded"),
        ),
        (
            at("Running"), Event("HeadPodGone"), {"submissionMode": "SidecarMode"}, at("Failed", reason="AppFailed"),
        ),
        (at("Running", jobStatus="RUNNING"), Event("SuspendAsked"), HTTP, at("Suspending", jobStatus="RUNNING")),
        (at("Initializing"), Event("SuspendAsked"), HTTP, at("Suspending")),
        (at("Suspending", jobStatus="RUNNING", **NAMES), Event("ResourcesGone"), HTTP, at("Suspended")),
    ],
)  # fmt: skip
def test_transition(status: dict[str, Any], event: Event, spec: dict[str, Any], expected: dict[str, Any]) -> None:
    found = written(apply(status, event, spec=spec, now=NOW))
    assert {name: found.get(name) for name in expected} == expected


def test_every_row_says_where_kuberay_does_it() -> None:
    assert all(row.source.startswith("kuberay:ray-operator/controllers/ray/rayjob_controller.go ") for row in ROWS)


def test_every_status_is_reached() -> None:
    reached = {state for states in EDGES.values() for state in states} | {"ValidationFailed"}
    assert reached == set(DEPLOYMENT_STATUSES)


@pytest.mark.parametrize("state", DEPLOYMENT_STATUSES)
def test_an_invalid_rayjob_is_refused_in_every_state_and_stays_so_when_fixed(state: str) -> None:
    outcome = after(at(state), "Invalid", message="wrong")
    if state == "ValidationFailed":
        assert outcome.status is None, "a message alone is never stored"
    else:
        assert written(outcome)["reason"] == written(outcome)["jobDeploymentStatus"] == "ValidationFailed"
    for row in ROWS:
        if row.event not in ("Invalid", "Deleted"):
            assert "ValidationFailed" not in row.states


@pytest.mark.parametrize("state", [state for state in DEPLOYMENT_STATUSES if state not in ("Initializing", "Running")])
def test_only_initializing_and_running_are_suspended(state: str) -> None:
    assert after(at(state), "SuspendAsked").status is None


def test_suspension_and_retry_clear_all_but_counters_and_start() -> None:
    status = at(
        "Suspending",
        jobStatus="RUNNING",
        dashboardURL="u",
        message="m",
        reason="r",
        failed=1,
        startTime="then",
        jobStatusCheckFailureStartTime="t",
        rayJobInfo={"startTime": "s"},
        rayClusterStatus=READY,
        **NAMES,
    )
    kept = {"failed": 1, "succeeded": 0, "startTime": "then", "rayJobInfo": {}, "rayClusterStatus": EMPTY_CLUSTER}
    assert written(after(status, "ResourcesGone")) == at("Suspended", **kept)
    assert written(after({**status, "jobDeploymentStatus": "Retrying"}, "ResourcesGone")) == kept


@pytest.mark.parametrize("before", [at("", startTime="2001", failed=1), at("Suspended", startTime="2001")])
def test_start_time_is_reset_by_retry_and_resume(before: dict[str, Any]) -> None:
    status = written(after(before, "ResumeAsked")) if before.get("jobDeploymentStatus") else before
    assert written(after(status, "Seen", now=LATER, **NAMES))["startTime"] == "2023-11-14T22:23:20Z"


def test_names_outlive_a_second_look() -> None:
    status = at("", jobId="old", rayClusterName="older")
    assert {"jobId": "old", "rayClusterName": "older"}.items() <= written(after(status, "Seen", **NAMES)).items()


@pytest.mark.parametrize(("limit", "failed", "state"), [(0, 0, "Failed"), (1, 0, "Retrying"), (1, 1, "Failed")])
def test_a_failure_is_repeated_up_to_backoff_limit(limit: int, failed: int, state: str) -> None:
    status, spec = at("Running", jobStatus="RUNNING", failed=failed), {**HTTP, "backoffLimit": limit}
    found = written(after(status, "JobInfo", spec=spec, jobStatus="FAILED"))
    assert (found["jobDeploymentStatus"], found["failed"]) == (state, failed + 1)
    assert ("endTime" in found) == (state == "Failed")


def test_deadline_and_check_timeout_are_never_repeated() -> None:
    spec = {**HTTP, "backoffLimit": 5}
    late = written(after(at("Running"), "ActiveDeadlineOver", spec=spec))
    silent = at("Running", jobStatus="RUNNING", jobStatusCheckFailureStartTime="2023")
    lost = written(after(silent, "CheckTimeoutOver", spec=spec))
    assert {late["reason"], lost["reason"]} == set(NEVER_RETRIED)
    assert late["jobDeploymentStatus"] == lost["jobDeploymentStatus"] == "Failed"
    assert lost["jobStatus"] == "RUNNING"


def test_a_lost_job_is_submitted_again_without_a_trace() -> None:
    status = at("Running", jobStatus="RUNNING", failed=0, succeeded=0)
    assert after(status, "JobNotFound") == Outcome(None, "Submit")
    assert after(status, "JobNotFound", spec=K8S) == Outcome(None)


def test_an_end_of_the_job_is_written_once_with_its_end_time() -> None:
    found = written(after(at("Running", jobStatus="RUNNING"), "JobInfo", jobStatus="SUCCEEDED"))
    assert (found["endTime"], found["succeeded"]) == ("2023-11-14T22:13:20Z", 1)
    assert after(found, "JobInfo", jobStatus="FAILED") == Outcome(None)
    assert after(found, "TimeToLiveOver") == Outcome(None, "DeleteCluster")


@pytest.mark.parametrize(
    ("event", "writes"),
    [
        (Event("JobInfo", {"jobStatus": "RUNNING", "message": "half way"}), False),
        (Event("JobInfo", {"jobStatus": "RUNNING", "rayClusterStatus": {"readyWorkerReplicas": 2}}), True),
        (Event("JobInfo", {"jobStatus": "RUNNING", "rayClusterStatus": {"lastUpdateTime": "now"}}), False),
        (Event("JobInfo", {"jobStatus": "STOPPED"}), True),
        (Event("CheckFailed"), True),
    ],
)
def test_only_jobs_deployments_clusters_and_timers_are_worth_a_write(event: Event, writes: bool) -> None:
    status = at("Running", jobStatus="RUNNING", message="begun", failed=0, succeeded=0)
    assert (apply(status, event, spec=HTTP, now=NOW).status is not None) == writes


def test_the_check_timer_starts_once_and_ends_with_an_answer() -> None:
    started = written(after(at("Running", jobStatus="RUNNING"), "CheckFailed"))
    assert after(started, "CheckFailed", now=LATER).status is None
    answered = written(after(started, "JobInfo", jobStatus="RUNNING"))
    assert "jobStatusCheckFailureStartTime" not in answered


@given(
    spec=st.sampled_from([HTTP, K8S, INTERACTIVE, {**HTTP, "backoffLimit": 2}, {"submissionMode": "SidecarMode"}]),
    events=st.lists(
        st.tuples(
            st.sampled_from(sorted({row.event for row in ROWS} - {"Invalid"})),
            st.sampled_from(["PENDING", "RUNNING", *JOB_TERMINAL]),
            st.booleans(),
        ),
        max_size=40,
    ),
)
def test_no_sequence_of_events_leaves_the_documented_graph(
    spec: dict[str, Any], events: list[tuple[Any, str, bool]]
) -> None:
    status: dict[str, Any] = {}
    for second, (name, job, finished) in enumerate(events):
        values = {
            **NAMES,
            "dashboardURL": "u",
            "message": "m",
            "jobStatus": job,
            "submitterFinished": finished,
            "rayClusterStatus": READY,
        }
        new = apply(status, Event(name, values), spec=spec, now=NOW + second).status
        if new is None:
            continue
        before, now = status.get("jobDeploymentStatus", ""), new.get("jobDeploymentStatus", "")
        assert now == before or now in EDGES[before]
        assert new["failed"] >= status.get("failed", 0)
        assert new["failed"] <= spec.get("backoffLimit", 0) + 1
        assert now != "Complete" or new["jobStatus"] in ("SUCCEEDED", "STOPPED")
        assert (now in ("Complete", "Failed")) == ("endTime" in new)
        status = new
