"""Reading children: every status that KubeRay and the Job controller write, with their traps by name."""

import copy
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.manifest.settings import Pool, Settings
from kubedistill.v1alpha1 import Run
from kubedistill_operator.cluster.api_errors import NotUnderstood
from kubedistill_operator.cluster.child_reading import check_frozen, clip, is_owned, read_child, read_frozen
from kubedistill_operator.decisions.run_snapshot import frozen_manifest, is_intact, load_snapshot, take_snapshot
from kubedistill_operator.job import parse_job
from kubedistill_operator.observed import Child
from support.messages import CheckMessage

Values = dict[str, Any]
METADATA = {
    "name": "support-train-abcde", "uid": "child-uid", "creationTimestamp": "2026-03-01T12:00:00Z",
    "labels": {"kubedistill.io/job-uid": "job-uid"}, "ownerReferences": [{"uid": "job-uid"}],
}  # fmt: skip


def rayjob(*, deployment: str = "", job: str = "", spec: Values | None = None, **status: Any) -> Values:
    status |= {"jobDeploymentStatus": deployment, "jobStatus": job}
    return {"kind": "RayJob", "metadata": METADATA, "spec": spec or {}, "status": status}


def batch_job(*, spec: Values | None = None, **status: Any) -> Values:
    return {"kind": "Job", "metadata": METADATA, "spec": spec or {}, "status": status}


def test_a_rayjob_without_a_status_waits() -> None:
    child = read_child({"kind": "RayJob", "metadata": METADATA, "spec": {}})
    assert child == Child("RayJob", "support-train-abcde", "child-uid", 1772366400.0, "Waiting", noticed=False)


CRASHED = "Job entrypoint command failed with exit code -9"
JOB_STATUSES = ["", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
STATES = {
    "": "Waiting",
    "Initializing": "Waiting",
    "Waiting": "Waiting",
    "Running": "Running",
    "Suspending": "Waiting",
    "Suspended": "Waiting",
    "Retrying": "Waiting",
    "Complete": "Ended",
    "Failed": "Ended",
    "ValidationFailed": "Ended",
    "SomethingNew": "Waiting",
}


@pytest.mark.parametrize("job", JOB_STATUSES)
@pytest.mark.parametrize("deployment", STATES)
def test_the_deployment_status_decides_whatever_the_job_status_says(deployment: str, job: str) -> None:
    assert read_child(rayjob(deployment=deployment, job=job), started=True).state == STATES[deployment]


@pytest.mark.parametrize(("job", "expected"), [("", "Waiting"), ("PENDING", "Running"), ("RUNNING", "Running")])
def test_w12_a_rayjob_runs_from_when_its_driver_is_submitted(job: str, expected: str) -> None:
    assert read_child(rayjob(deployment="Running", job=job)).state == expected


TRAPS = {
    "a stopped job is Complete, and that is not a success": (
        rayjob(deployment="Complete", job="STOPPED"), ("Ended", "Stopped", ""),
    ),
    "a job that succeeded may still have left no result": (
        rayjob(deployment="Complete", job="SUCCEEDED", message="Job finished successfully."),
        ("Ended", "Succeeded", "Job finished successfully."),
    ),
    "Failed with job status RUNNING is an end": (
        rayjob(deployment="Failed", job="RUNNING", reason="JobStatusCheckTimeoutExceeded", message="no answer"),
        ("Ended", "JobStatusCheckTimeoutExceeded", "no answer"),
    ),
    "an application that failed": (
        rayjob(deployment="Failed", job="FAILED", reason="AppFailed", message="exit 1"),
        ("Ended", "AppFailed", "exit 1"),
    ),
    "nodes that did not come in time": (
        rayjob(deployment="Failed", reason="PreRunningDeadlineExceeded"), ("Ended", "PreRunningDeadlineExceeded", ""),
    ),
    "ValidationFailed is an end although KubeRay continues to check it": (
        rayjob(deployment="ValidationFailed", message="ttl must be positive"),
        ("Ended", "ValidationFailed", "ttl must be positive"),
    ),
    "a terminal job status is not an end while the deployment runs": (
        rayjob(deployment="Running", job="FAILED"), ("Running", "", ""),
    ),
    "pods that exceed the quota say so in the cluster's conditions alone": (
        rayjob(
            deployment="Initializing",
            rayClusterStatus={"conditions": [
                {"type": "HeadPodReady", "status": "False", "reason": "HeadPodNotFound"},
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod",
                 "message": 'pods "a" is forbidden: exceeded quota: gpus'},
            ]},
        ),
        ("Waiting", "FailedCreate", 'pods "a" is forbidden: exceeded quota: gpus'),
    ),
    "pods that can't be made for another reason": (
        rayjob(
            deployment="Initializing",
            rayClusterStatus={"conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "denied by policy"}
            ]},
        ),
        ("Waiting", "FailedCreate", "denied by policy"),
    ),
    "a driver that crashed is told by its exit code and the last of its log": (
        rayjob(
            deployment="Failed", job="FAILED", reason="AppFailed",
            message=f"{CRASHED}, last available logs (truncated to 20,000 chars):\n{'-' * 20_000}the last line\n",
        ),
        ("Ended", "AppFailed", f"{CRASHED}: … {'-' * 387}the last line"),
    ),
    "a head that runs and is not ready says so in the cluster's conditions alone": (
        rayjob(
            deployment="Initializing",
            rayClusterStatus={"conditions": [
                {"type": "HeadPodReady", "status": "False", "reason": "ContainersNotReady",
                 "message": "containers with unready status: [ray-head]"},
                {"type": "RayClusterProvisioned", "status": "False", "message": "being provisioned for first time"},
            ]},
        ),
        ("Waiting", "", "the head is not ready: containers with unready status: [ray-head]"),
    ),
    "a Job whose pod is pending waits": (batch_job(active=1, ready=0), ("Waiting", "", "")),
    "a Job whose pod is ready runs": (batch_job(active=1, ready=1), ("Running", "", "")),
    "a Job whose pod ended and that is not closed yet runs": (batch_job(succeeded=1), ("Running", "", "")),
    "a complete Job": (
        batch_job(succeeded=1, conditions=[
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": "Complete", "status": "True", "reason": "CompletionsReached"},
        ]),
        ("Ended", "CompletionsReached", ""),
    ),
    "a Job that is about to fail still has pods": (
        batch_job(failed=1, terminating=1, conditions=[{"type": "FailureTarget", "status": "True"}]),
        ("Running", "", ""),
    ),
    "a failed Job": (
        batch_job(failed=1, conditions=[
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached"},
        ]),
        ("Ended", "BackoffLimitExceeded", "Job has reached"),
    ),
    "a condition that is not true says nothing": (
        batch_job(conditions=[{"type": "Failed", "status": "False"}, {"type": "Complete", "status": "Unknown"}]),
        ("Waiting", "", ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_trap(trap: str) -> None:
    resource, expected = TRAPS[trap]
    child = read_child(resource)
    assert (child.state, child.reason, child.message) == expected


HELD = {"suspend": True}
QUEUED = {
    "a RayJob that Kueue has not admitted": (rayjob(deployment="Suspended", spec=HELD), False, False),
    "a RayJob that Kueue held back before KubeRay saw it": (rayjob(spec=HELD), False, False),
    "a RayJob that Kueue takes back": (rayjob(deployment="Suspending", spec=HELD), True, True),
    "a RayJob that Kueue takes back, which KubeRay has not seen": (rayjob(deployment="Running", spec=HELD), True, True),
    "a RayJob that Kueue took back": (rayjob(deployment="Suspended", spec=HELD), True, True),
    "a Job that Kueue has not admitted": (
        batch_job(spec=HELD, conditions=[{"type": "Suspended", "status": "True"}]), False, False,
    ),
    "a Job that Kueue took back": (
        batch_job(spec=HELD, terminating=1, conditions=[{"type": "Suspended", "status": "True"}]), True, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", QUEUED)
def test_held_back(case: str) -> None:
    resource, started, evicted = QUEUED[case]
    child = read_child(resource, started=started)
    assert not child.admitted
    assert child.evicted == evicted
    assert child.is_live != evicted


@pytest.mark.parametrize(
    "resource",
    [
        rayjob(deployment="", spec={"suspend": False}),
        rayjob(deployment="Suspended", spec={"suspend": False}),
        batch_job(spec={"suspend": False}, active=1, conditions=[{"type": "Suspended", "status": "False"}]),
    ],
)
def test_a_child_that_is_admitted_again_waits_for_its_pods(resource: Values) -> None:
    child = read_child(resource, started=True)
    assert (child.admitted, child.evicted, child.state) == (True, False, "Waiting")


def test_what_ended_was_not_evicted() -> None:
    assert not read_child(rayjob(deployment="Failed", spec=HELD), started=True).evicted


def test_a_child_that_is_being_deleted_says_so() -> None:
    resource = copy.deepcopy(rayjob(deployment="Running"))
    resource["metadata"] = {**METADATA, "deletionTimestamp": "2026-03-01T12:00:00Z"}
    assert read_child(resource).deleting


@pytest.mark.parametrize(
    ("metadata", "owned"),
    [
        ({}, True),
        ({"ownerReferences": []}, False),
        ({"ownerReferences": [{"uid": "another"}]}, False),
        ({"labels": {}}, False),
    ],
)
def test_p10_a_child_that_was_orphaned_says_so(metadata: Values, *, owned: bool) -> None:
    assert read_child(rayjob() | {"metadata": METADATA | metadata}).is_owned == owned


def test_long_texts_are_cut_to_one_line() -> None:
    child = read_child(rayjob(deployment="Failed", reason="x" * 5000, message="a\n  b\tc" * 5000))
    assert len(child.reason) == len(child.message) == 700
    assert "\n" not in child.message
    assert clip("a\n b") == "a b"
    assert clip("\x1b[31mred\x07\x9b\u202e\x00 end") == "[31mred end", "nothing that a terminal obeys"
    assert clip(None) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
STATUS = st.dictionaries(
    st.sampled_from(
        ["jobDeploymentStatus", "jobStatus", "reason", "message", "rayClusterStatus", "conditions", "ready"]
    ),
    JSON,
)


@given(kind=st.sampled_from(["RayJob", "Job"]), spec=JSON, status=STATUS | JSON, started=st.booleans())
def test_no_status_raises(kind: str, spec: Any, status: Any, started: bool) -> None:
    child = read_child({"kind": kind, "metadata": METADATA, "spec": spec, "status": status}, started=started)
    assert child.state in ("Waiting", "Running", "Ended")


def frozen_map(resource: Values) -> Values:
    job = parse_job(resource)
    settings = Settings(pools={"h100": Pool(node_selector={"gpu": "h100"})})
    return frozen_manifest(job, take_snapshot(job, "one", settings=settings))


def test_a_frozen_run_comes_back(resource: Values) -> None:
    config_map = frozen_map(resource)
    frozen = read_frozen(config_map)
    assert (frozen.name, frozen.run_id) == (config_map["metadata"]["name"], "one")
    assert frozen.snapshot == hashlib.sha256(config_map["data"]["run.json"].encode()).hexdigest()
    check_frozen(frozen)
    assert load_snapshot(frozen, settings=Settings()).spec == parse_job(resource).spec


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "null", "{}", '{"id": "one", "digest": "d"}', "[" * 100_000,
     '{"id": "one", "digest": "d", "spec": {}, "pools": {}, "images": {}}',
     '{"id": "one", "digest": "d", "spec": 7, "pools": 7, "images": 7}'],
)  # fmt: skip
def test_an_unreadable_frozen_run_of_ours_is_of_another_version(
    text: str, resource: Values, check_message: CheckMessage
) -> None:
    config_map = frozen_map(resource)
    config_map["data"]["run.json"] = text
    frozen = read_frozen(config_map)
    assert not is_intact(frozen, Run(id="one", digest="d", started_at=""))
    with pytest.raises(NotUnderstood) as caught:
        check_frozen(frozen)
    check_message(caught.value, "ConfigMap", config_map["metadata"]["name"], "run.json")


@pytest.mark.parametrize("data", [None, {}, {"run.json": 7}, {"run.json": None}, []])
def test_a_config_map_without_a_run_is_read_as_none(data: Any, resource: Values) -> None:
    assert read_frozen({**frozen_map(resource), "data": data}).values == {}


def test_owners_are_told_by_uid(resource: Values) -> None:
    assert is_owned(frozen_map(resource), uid=resource["metadata"]["uid"])
    assert not is_owned(frozen_map(resource), uid="another")
    assert not is_owned({"metadata": {}}, uid="another")
