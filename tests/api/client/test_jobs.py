"""A job as it is read, what it is asked, and when it is over."""

from collections.abc import Callable
from typing import Any

import pytest

from kubedistill.client import operations
from kubedistill.client.interpreters import Interpreter
from kubedistill.client.job import Job, manifest_of, read_job
from kubedistill.errors import GateMissed, InvalidManifest, JobFailed, NoSuchJob
from kubedistill.v1alpha1 import DistillationJob
from support.messages import CheckMessage

ABSENT = NoSuchJob("there is none")


def failed(reason: str) -> list[dict[str, str]]:
    return [{"type": "Failed", "status": "True", "reason": reason, "message": "why"}]


ENDS = {
    "Succeeded": ("Succeeded", [], None, 0),
    "failed": ("Failed", failed("OutOfMemory"), JobFailed, 1),
    "cancelled": ("Failed", failed("Cancelled"), JobFailed, 1),
    "the gate failed": ("Failed", failed("EvaluationGate"), GateMissed, 3),
}


@pytest.mark.parametrize("case", ENDS)
def test_an_end_has_its_error_and_its_exit_code(
    case: str, a_job: Callable[..., Job], check_message: CheckMessage
) -> None:
    phase, conditions, kind, code = ENDS[case]
    job = a_job(phase, conditions=conditions, message="why")
    assert (job.is_over, job.exit_code) == (True, code)
    if kind is None:
        job.check_success()
        return
    with pytest.raises(kind) as caught:
        job.check_success()
    check_message(caught.value, "team-a/support")
    assert caught.value.exit_code == code


def test_a_job_of_a_newer_version_is_read_as_far_as_it_is_known(
    make_job: Callable[..., Any], check_message: CheckMessage
) -> None:
    values = make_job("Training", brandNew={"a": 1})
    values["spec"]["brandNew"] = True
    assert read_job(values).phase == "Training"
    values["status"]["phase"] = "Dreaming"
    newer = read_job(values | {"status": {**values["status"], "message": "zzz"}})
    assert (newer.phase, newer.status.message, newer.is_over) == ("Dreaming", "zzz", False)
    values["spec"]["task"]["type"] = "Dreams"
    with pytest.raises(InvalidManifest) as caught:
        read_job(values)
    check_message(caught.value, "team-a/support", "spec.task.type")


def test_of_a_status_that_is_not_understood_the_rest_is_shown(make_job: Callable[..., Any]) -> None:
    why = 'status.stages[1].state: "Paused" is not one of ...'
    stalled = {"type": "Stalled", "status": "True", "reason": "StatusNotUnderstood", "message": why}
    stages = [{"name": "Train", "state": "Running"}, {"name": "Export", "state": "Paused"}, {"name": "Reflect"}]
    job = read_job(make_job("Paused", conditions=[stalled], stages=stages, message="Train: 40%"))
    assert (job.phase, job.message, job.status.message) == ("Paused", why, "Train: 40%")
    assert [(one.name, one.state) for one in job.status.stages] == [("Train", "Running"), ("Export", "Pending")]


SUBMISSIONS = {
    "a new one": (ABSENT, {}, "created"),
    "the same": ({}, {}, "unchanged"),
    "the same, while its status is written": ({}, {"resourceVersion": "9"}, "unchanged"),
    "another spec": ({}, {"resourceVersion": "9", "generation": 2}, "configured"),
    "another label": ({}, {"resourceVersion": "9", "labels": {"a": "b"}}, "configured"),
    "deleted and created again": ({}, {"resourceVersion": "9", "uid": "u-2"}, "created"),
}


@pytest.mark.parametrize("case", SUBMISSIONS)
def test_submitting_says_what_was_new(case: str, server: Any, make_job: Callable[..., Any]) -> None:
    before, after, change = SUBMISSIONS[case]
    answer = make_job()
    answer["metadata"] |= after
    server.answers = [before or make_job(), answer]
    operation = operations.submit(make_job(), namespace=None, default="other", force=False)
    assert Interpreter(server).run(operation).change == change
    assert dict(server.asked[-1].query) == {"fieldManager": "kubedistill", "fieldValidation": "Strict"}


@pytest.mark.parametrize(
    ("own", "asked", "place"),
    [(None, None, "the-context"), (None, "asked", "asked"), ("own", None, "own"), ("own", "own", "own")],
)
def test_the_namespace_is_the_manifests_or_the_one_asked_for_or_the_contexts(
    own: str | None, asked: str | None, place: str, server: Any, make_job: Callable[..., Any], job_values: Any
) -> None:
    server.answers = [ABSENT, make_job()]
    if own:
        job_values["metadata"]["namespace"] = own
    Interpreter(server).run(operations.submit(job_values, namespace=asked, default="the-context", force=True))
    assert [one.namespace for one in server.asked] == [place, place]
    assert server.asked[1].body["metadata"]["namespace"] == place
    assert server.asked[1].query["force"] == "true"


def test_two_namespaces_are_refused(server: Any, job_values: Any, check_message: CheckMessage) -> None:
    job_values["metadata"]["namespace"] = "own"
    with pytest.raises(InvalidManifest) as caught:
        Interpreter(server).run(operations.submit(job_values, namespace="asked", default="", force=False))
    check_message(caught.value, "metadata.namespace", "own", "asked")


def test_a_model_becomes_a_manifest_without_defaults(job_values: Any) -> None:
    assert manifest_of(DistillationJob.model_validate(job_values, strict=False)) == job_values
    job_values["metadata"]["namespace"] = "team-a"
    assert manifest_of(DistillationJob.model_validate(job_values, strict=False)) == job_values


@pytest.mark.parametrize(
    ("ask", "annotation"), [(operations.rerun, "kubedistill.io/rerun"), (operations.cancel, "kubedistill.io/cancel")]
)
def test_each_request_by_annotation_has_a_token_of_its_own(
    ask: Callable[..., Any], annotation: str, server: Any, make_job: Callable[..., Any]
) -> None:
    server.answers = [make_job(), make_job()]
    for _ in range(2):
        Interpreter(server).run(ask("support", namespace="team-a"))
    tokens = [one.body["metadata"]["annotations"][annotation] for one in server.asked]
    assert len(set(tokens)) == 2
