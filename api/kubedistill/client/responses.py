"""Responses of the API server: converted to values, or to an error of our tree."""

import json
from typing import Any

from kubedistill.client.request import Request, Values
from kubedistill.errors import (
    ClusterUnavailable,
    Conflict,
    KubedistillError,
    NoSuchJob,
    NotAllowed,
    NotAvailable,
    NotInstalled,
    Rejected,
)
from kubedistill.v1alpha1 import KIND

_MOST_CAUSES = 10
_UNKNOWN_FIELD = "failed to create typed patch object"
"""A server-side apply reports this, with code 500, for a field that is not in the schema."""


def read_answer(request: Request, *, code: int, body: bytes) -> Any:
    """Return the values of a response, or the text of a log; raises the error that its HTTP code means."""
    if code >= 400:
        raise _make_error(request, code=code, status=_read_status(body))
    return body.decode(errors="replace") if request.verb == "log" else json.loads(body)


def _read_status(body: bytes) -> Values:
    """Return the Kubernetes Status of a response; proxies, nodes and unknown paths answer in plain text."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": body.decode(errors="replace").strip()[:300]}


def _make_error(request: Request, *, code: int, status: Values) -> KubedistillError:
    """Return the error that an HTTP code and a Kubernetes Status mean."""
    message = str(status.get("message") or f"HTTP {code}").rstrip(".")
    if code == 404:
        return _make_not_found(request, status)
    if request.verb == "log" and code not in (401, 403):
        return NotAvailable(f'the log of pod "{request.name}" can\'t be read ({message})', fix="Try again when it runs")
    if code in (400, 413, 415, 422) or _UNKNOWN_FIELD in message:
        return _make_rejected(status, message)
    errors: dict[int, tuple[type[KubedistillError], str, str]] = {
        401: (
            NotAllowed, "the API server does not accept your credentials", "Log in again, or fix the kubeconfig's user",
        ),
        403: (NotAllowed, message, "Ask an administrator for permissions on distillationjobs in this namespace"),
        409: (Conflict, message, "Leave these fields to that manager, or take them over by force"),
    }  # fmt: skip
    unavailable = (ClusterUnavailable, f"the API server can't answer now (HTTP {code}: {message})", "Try again")
    kind, problem, fix = errors.get(code, unavailable)
    return kind(problem, fix=fix)


def _make_not_found(request: Request, status: Values) -> KubedistillError:
    """Return what HTTP 404 means: no namespace, no object of another kind, no CRD, or no job."""
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        fix = "Create it, or name another one with --namespace"
        return Rejected(f'there is no namespace "{request.namespace}"', fix=fix)
    if request.kind != KIND:
        return NotAvailable(f'there is no {request.kind} "{request.name}" in namespace "{request.namespace}"')
    if not details.get("name"):
        return NotInstalled("the cluster has no DistillationJobs", fix="Install kubedistill's chart, or its CRD")
    fix = f"List the jobs with `kubedistill get --namespace {request.namespace}`"
    return NoSuchJob(f'there is no job "{request.name}" in namespace "{request.namespace}"', fix=fix)


def _make_rejected(status: Values, message: str) -> Rejected:
    """Return the violations of the schema and its rules, one line per field; the message of a rule contains its fix."""
    causes = [one for one in (status.get("details") or {}).get("causes") or [] if one.get("message")]
    if not causes:
        return Rejected(message, fix="Fix the manifest")
    lines = [f"{one.get('field') or 'the manifest'}: {one['message']}" for one in causes[:_MOST_CAUSES]]
    at, _, problem = lines[0].partition(": ")
    return Rejected("\n".join([problem, *lines[1:]]), at=at)
