"""What an answer of the API server means: its values, or one error with the way out."""

import json
from typing import Any

import pytest

from kubedistill import errors
from kubedistill.client.request import Request
from kubedistill.client.responses import read_answer

GET = Request("get", namespace="team-a", name="support")
LIST = Request("list", namespace="team-a")
APPLY = Request("apply", namespace="team-a", name="support")
LOG = Request("log", kind="Pod", namespace="team-a", name="support-train-abcde")
POD = Request("get", kind="ConfigMap", namespace="team-a", name="support-train-abcde")


def status(message: str = "", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


INVALID = status(
    "it is invalid",
    causes=[
        {"field": "spec.task", "message": "labels is required; list them"},
        {"field": "spec.data.train", "message": "exactly one of uri and configMapKeyRef must be set"},
    ],
)
CASES = {
    "no such job": (GET, 404, status(name="support"), errors.NoSuchJob, 'there is no job "support" in namespace'),
    "no such kind": (GET, 404, b"404 page not found", errors.NotInstalled, "no DistillationJobs. Install"),
    "no such kind, in a list": (LIST, 404, status(group="kubedistill.io"), errors.NotInstalled, "Install"),
    "no such namespace": (APPLY, 404, status(kind="namespaces", name="team-a"), errors.Rejected, "Create it, or name"),
    "no such object": (POD, 404, status(name="x"), errors.NotAvailable, 'no ConfigMap "support-train-abcde"'),
    "not known": (GET, 401, b"Unauthorized", errors.NotAllowed, "does not accept your credentials. Log in again"),
    "not allowed": (GET, 403, status('User "me" cannot get.'), errors.NotAllowed, 'User "me" cannot get. Ask an'),
    "another manager": (APPLY, 409, status("conflict with helm"), errors.Conflict, "conflict with helm. Leave"),
    "a wrong field": (
        APPLY, 422, INVALID, errors.Rejected,
        "spec.task: labels is required; list them\nspec.data.train: exactly one of uri",
    ),
    "a wrong body": (APPLY, 400, status("unknown field spec.x"), errors.Rejected, "unknown field spec.x. Fix"),
    "an unknown field in an apply": (
        APPLY, 500, status("failed to create typed patch object (a/b): .spce: field not declared in schema"),
        errors.Rejected, ".spce: field not declared in schema. Fix the manifest",
    ),
    "a busy server": (GET, 429, b"", errors.ClusterUnavailable, "HTTP 429"),
    "a proxy's page": (GET, 502, b"<html>Bad gateway</html>", errors.ClusterUnavailable, "Bad gateway"),
    "a log of a pod that waits": (LOG, 400, status("ContainerCreating"), errors.NotAvailable, "ContainerCreating"),
    "a node that does not answer": (LOG, 500, status("no route"), errors.NotAvailable, "no route"),
    "a log that one may not see": (LOG, 403, status("forbidden"), errors.NotAllowed, "forbidden"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_one_error_with_the_way_out(case: str) -> None:
    request, code, body, kind, text = CASES[case]
    with pytest.raises(kind) as caught:
        read_answer(request, code=code, body=body)
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_values_and_logs_are_read() -> None:
    assert read_answer(GET, code=200, body=b'{"a": 1}') == {"a": 1}
    assert read_answer(LOG, code=200, body=b"one\n\xff\n") == "one\n�\n"


PATHS = {
    "/apis/kubedistill.io/v1alpha1/namespaces/team-a/distillationjobs/support": GET,
    "/apis/kubedistill.io/v1alpha1/namespaces/team-a/distillationjobs": LIST,
    "/apis/kubedistill.io/v1alpha1/distillationjobs": Request("table"),
    "/api/v1/namespaces/team-a/pods/support-train-abcde/log": LOG,
    "/api/v1/namespaces/a%2Fb/events": Request("list", kind="Event", namespace="a/b"),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_request_has_its_place(path: str) -> None:
    assert PATHS[path].path == path
