"""Jobs in the player: every transition of the Job controller that a Job of one pod can meet."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_kuberay.jobs import ROWS, Look, apply, next_event, state_of
from support.fake_kuberay.transitions import stamp

NOW = 1_700_000_000.0


def pod(phase: str, *, ready: bool = False, deleting: bool = False) -> dict[str, Any]:
    metadata = {"deletionTimestamp": stamp(NOW)} if deleting else {}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


def look(*pods: dict[str, Any], spec: dict[str, Any] | None = None, **status: Any) -> Look:
    job = {"metadata": {"name": "child"}, "spec": {"backoffLimit": 0, **(spec or {})}, "status": status}
    return Look(job, pods, NOW)


def condition(name: str, status: str = "True") -> dict[str, Any]:
    return {"type": name, "status": status}


ACTIVE: dict[str, Any] = {"startTime": stamp(NOW - 10)}
SUSPENDED: dict[str, Any] = {"conditions": [condition("Suspended")]}


@pytest.mark.parametrize(
    ("where", "event"),
    [
        (look(), "Seen"),
        (look(spec={"suspend": True}), "SuspendAsked"),
        (look(pod("Running"), spec={"suspend": True}, **ACTIVE), "SuspendAsked"),
        (look(spec={"suspend": True}, **SUSPENDED), None),
        (look(**SUSPENDED), "ResumeAsked"),
        (look(pod("Pending"), **ACTIVE), "PodsMoved"),
        (look(pod("Pending"), **ACTIVE, active=1), None),
        (look(pod("Running", ready=True), **ACTIVE, active=1), "PodsMoved"),
        (look(pod("Succeeded"), **ACTIVE), "PodSucceeded"),
        (look(pod("Failed"), **ACTIVE), "PodsFailed"),
        (look(pod("Failed"), spec={"backoffLimit": 1}, **ACTIVE), "Seen"),
        (look(pod("Failed"), pod("Failed"), spec={"backoffLimit": 1}, **ACTIVE), "PodsFailed"),
        (look(pod("Running", deleting=True), **ACTIVE), "Seen"),
        (look(pod("Running"), spec={"activeDeadlineSeconds": 10}, **ACTIVE), "DeadlineOver"),
        (look(pod("Failed"), conditions=[condition("Complete")]), None),
        (look(conditions=[condition("Failed")]), None),
    ],
)
def test_first_event(where: Look, event: str | None) -> None:
    assert next_event(where) == event


def test_an_end_has_its_criterion_its_condition_and_no_pod_left() -> None:
    status, effect = apply(look(pod("Succeeded"), **ACTIVE, active=1), "PodSucceeded")
    assert [one["type"] for one in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert (status["succeeded"], status.get("active"), status["completionTime"]) == (1, None, stamp(NOW))
    assert effect == ""
    status, effect = apply(look(pod("Failed"), **ACTIVE), "PodsFailed")
    assert [one["reason"] for one in status["conditions"]] == ["BackoffLimitExceeded"] * 2
    assert (status["failed"], effect) == (1, "DeletePods")


def test_suspension_takes_the_start_time_and_resumption_gives_another() -> None:
    status, effect = apply(look(pod("Running"), spec={"suspend": True}, **ACTIVE), "SuspendAsked")
    assert ("startTime" in status, status["conditions"][0]["reason"], effect) == (False, "JobSuspended", "DeletePods")
    status, _ = apply(look(**status), "ResumeAsked")
    assert (status["startTime"], status["conditions"][0]["reason"]) == (stamp(NOW), "JobResumed")


def test_every_row_says_where_kubernetes_does_it() -> None:
    assert all(row.source.startswith("kubernetes:pkg/controller/job/job_controller.go ") for row in ROWS)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]), max_size=2), st.booleans()),
        max_size=20,
    )
)
def test_every_event_of_the_controller_has_a_row_and_an_end_is_final(moments: list[tuple[list[str], bool]]) -> None:
    status: dict[str, Any] = {}
    for phases, suspend in moments:
        where = look(*map(pod, phases), spec={"suspend": suspend}, **status)
        event = next_event(where)
        if state_of(status) in ("Complete", "Failed"):
            assert event is None
        if event is not None:
            status, _ = apply(where, event)
