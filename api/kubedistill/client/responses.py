"""Answers: what the API server says to a request, as values or as the error that it means."""

import json
from typing import Any

from kubedistill.client.request import Request, Values
from kubedistill.errors import (
    ClusterUnavailable,
    Conflict,
    KubedistillError,
    NoSuchJob,
    NotAllowed,
    NotInstalled,
    NotKept,
    Rejected,
)
from kubedistill.v1alpha1 import KIND

_MOST_CAUSES = 10
_UNKNOWN_FIELD = "failed to create typed patch object"
"""What a server-side apply says, with code 500, of a field that the schema does not have."""


def read_answer(request: Request, *, code: int, body: bytes) -> Any:
    """The values of an answer, or the text of a log; raises the error that its HTTP code stands for."""
    if code >= 400:
        raise _failure(request, code=code, said=_status(body))
    return body.decode(errors="replace") if request.verb == "log" else json.loads(body)


def _status(body: bytes) -> Values:
    """The server's Status; proxies, nodes and unknown paths answer in plain text."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": body.decode(errors="replace").strip()[:300]}


def _failure(request: Request, *, code: int, said: Values) -> KubedistillError:
    message = str(said.get("message") or f"HTTP {code}").rstrip(".")
    if code == 404:
        return _absence(request, said)
    if request.verb == "log" and code not in (401, 403):
        return NotKept(f'the log of pod "{request.name}" can\'t be had ({message})', fix="Try again when it runs")
    if code in (400, 413, 415, 422) or _UNKNOWN_FIELD in message:
        return _rejection(said, message)
    errors: dict[int, tuple[type[KubedistillError], str, str]] = {
        401: (NotAllowed, "the API server does not know who you are", "Log in again, or mend the kubeconfig's user"),
        403: (NotAllowed, message, "Ask for rights on distillationjobs in this namespace"),
        409: (Conflict, message, "Leave these fields to that manager, or take them over by force"),
    }
    away = (ClusterUnavailable, f"the API server can't answer now (HTTP {code}: {message})", "Try again")
    kind, problem, fix = errors.get(code, away)
    return kind(problem, fix=fix)


def _absence(request: Request, said: Values) -> KubedistillError:
    details = said.get("details") or {}
    if details.get("kind") == "namespaces":
        return Rejected(f'there is no namespace "{request.namespace}"', fix="Create it, or name another by --namespace")
    if request.kind != KIND:
        return NotKept(f'there is no {request.kind} "{request.name}" in namespace "{request.namespace}"')
    if not details.get("name"):
        return NotInstalled("the cluster knows no DistillationJobs", fix="Install kubedistill's chart, or its CRD")
    fix = f"`kubedistill get --namespace {request.namespace}` lists those that there are"
    return NoSuchJob(f'there is no job "{request.name}" in namespace "{request.namespace}"', fix=fix)


def _rejection(said: Values, message: str) -> Rejected:
    """What the schema or a rule refuses, a line for each field; the message of a rule holds its fix."""
    causes = [one for one in (said.get("details") or {}).get("causes") or [] if one.get("message")]
    if not causes:
        return Rejected(message, fix="Fix the manifest")
    lines = [f"{one.get('field') or 'the manifest'}: {one['message']}" for one in causes[:_MOST_CAUSES]]
    at, _, problem = lines[0].partition(": ")
    return Rejected("\n".join([problem, *lines[1:]]), at=at)
