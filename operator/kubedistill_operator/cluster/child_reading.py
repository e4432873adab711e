"""Reading children: RayJobs, Jobs and frozen runs become the plain values that decisions use."""

import json
from typing import Final

from pydantic import ValidationError

from kubedistill.canonical import text_digest
from kubedistill.contract import ACCEPTED_CONTRACTS
from kubedistill.labels import JOB_UID_LABEL
from kubedistill.manifest.problems import field_path, quote_value
from kubedistill.manifest.settings import Settings
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.cluster.api_errors import NotUnderstood
from kubedistill_operator.cluster.json_values import items, part
from kubedistill_operator.decisions.run_snapshot import load_snapshot
from kubedistill_operator.observed import Child, ChildState, Resource, StoredSnapshot

TEXT: Final = 700
"""Maximum length of an external string; with a sentence around it, it still fits into the status."""

_LOGS, _LOG_TAIL = ", last available logs (truncated to 20,000 chars):", 400
"""What Ray writes between a driver's exit code and its log, and how much of the end of the log to show."""
_RAYJOB_STATES: dict[str, ChildState] = {
    "": "Waiting",
    "Initializing": "Waiting",
    "Waiting": "Waiting",
    "Running": "Running",
    "Complete": "Ended",  # not necessarily a success: a job that was stopped is Complete too
    "Failed": "Ended",  # even with jobStatus RUNNING
    "ValidationFailed": "Ended",  # a correction needs a new RayJob
    "Suspending": "Waiting",
    "Suspended": "Waiting",
    "Retrying": "Waiting",
}


def read_child(resource: Resource, *, started: bool = False) -> Child:
    """Read a RayJob or Job; `started` says whether a driver of it is known to have run."""
    state, reason, message = _read_rayjob(resource) if resource["kind"] == "RayJob" else _read_job(resource)
    metadata = resource["metadata"]
    held_back = part(resource, "spec").get("suspend") is True
    # KubeRay calls a RayJob Running once its cluster is ready, and submits the driver at its next reconcile.
    submitted = resource["kind"] == "Job" or bool(part(resource, "status").get("jobStatus"))
    return Child(
        kind="RayJob" if resource["kind"] == "RayJob" else "Job",
        name=metadata["name"],
        uid=metadata["uid"],
        created=seconds_of(metadata.get("creationTimestamp", "")) or 0.0,
        state="Waiting" if state == "Running" and not started and (held_back or not submitted) else state,
        reason=clip(reason),
        message=clip(message),
        admitted=not held_back,
        evicted=held_back and started and state != "Ended",
        has_submitter=part(resource, "spec").get("submissionMode") == "K8sJobMode",
        deleting="deletionTimestamp" in metadata,
        ready=resource["kind"] == "RayJob" or bool(part(resource, "status").get("ready")),
        noticed=resource["kind"] == "Job" or bool(part(resource, "status").get("jobDeploymentStatus")),
        is_owned=is_owned(resource, uid=str(part(metadata, "labels").get(JOB_UID_LABEL))),
    )


def read_frozen(resource: Resource) -> StoredSnapshot:
    """Read a ConfigMap that has the name of a frozen run, whatever it contains."""
    text = part(resource, "data").get("run.json")
    text = text if isinstance(text, str) else ""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    return StoredSnapshot(resource["metadata"]["name"], text_digest(text), values if isinstance(values, dict) else {})


def check_frozen(frozen: StoredSnapshot) -> None:
    """Raise NotUnderstood if another version wrote this intact run, and this version cannot read it."""
    at = f"ConfigMap {frozen.name}, run.json:"
    try:
        if frozen.contract not in ACCEPTED_CONTRACTS:
            raise NotUnderstood(f"{at} contract {frozen.contract} is not understood")
        load_snapshot(frozen, settings=Settings())
    except ValidationError as error:
        found = error.errors()
        chosen = next((one for one in found if one["type"] == "literal_error"), None)
        if chosen is None:
            raise NotUnderstood(f"{at} {field_path(found[0]['loc'])}: {found[0]['msg']}") from error
        problem = (
            f"{field_path(chosen['loc'])}: {quote_value(chosen['input'])} is not one of {chosen['ctx']['expected']}"
        )
        raise NotUnderstood(f"{at} {problem}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"{at} {type(error).__name__}: {error}") from error


def is_owned(resource: Resource, *, uid: str) -> bool:
    """Return whether an object belongs to the job with this uid."""
    owners = part(resource, "metadata").get("ownerReferences") or []
    return any(owner.get("uid") == uid for owner in owners)


def clip(text: object, most: int = TEXT) -> str:
    """Return an external string on one line, of limited length and without terminal control characters."""
    plain = "".join(one if one.isprintable() else " " for one in str(text or ""))
    line = " ".join(plain.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _read_rayjob(resource: Resource) -> tuple[ChildState, str, str]:
    status = part(resource, "status")
    deployment, job = str(status.get("jobDeploymentStatus") or ""), str(status.get("jobStatus") or "")
    state = _RAYJOB_STATES.get(deployment, "Waiting")
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if deployment == "ValidationFailed":
        return state, deployment, message
    if state == "Ended":
        return state, reason or job.capitalize(), _shorten(message)
    if state == "Waiting":
        return state, *_why_no_pods(status, reason, message)
    return state, reason, message


def _shorten(message: str) -> str:
    """Remove the beginning of the driver's log from a message: its end says why the driver ended."""
    summary, found, log = message.partition(_LOGS)
    return f"{summary}: … {log.strip()[-_LOG_TAIL:]}" if found and len(log) > _LOG_TAIL else message


def _why_no_pods(status: Resource, reason: str, message: str) -> tuple[str, str]:
    """Return what the Ray cluster says about pods that it could not create, or about a head that is not ready."""
    conditions = items(part(status, "rayClusterStatus"), "conditions")
    messages = {(one.get("type"), one.get("status")): str(one.get("message") or "") for one in conditions}
    if (refusal := messages.get(("ReplicaFailure", "True"))) is not None:
        return "FailedCreate", refusal
    if unready := messages.get(("HeadPodReady", "False")):
        return reason, f"the head is not ready: {unready}"
    return reason, message


def _read_job(resource: Resource) -> tuple[ChildState, str, str]:
    status = part(resource, "status")
    for condition in items(status, "conditions"):
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return "Ended", str(condition.get("reason") or ""), str(condition.get("message") or "")
    ran = any(status.get(count) for count in ("ready", "succeeded", "failed", "terminating"))
    return ("Running" if ran else "Waiting"), "", ""
