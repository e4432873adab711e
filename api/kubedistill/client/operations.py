"""Operations on jobs: each yields its requests, and computes its result from the answers."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kubedistill.client.job import Job, manifest_of, read_job
from kubedistill.client.request import Operation, Request, Values
from kubedistill.errors import InvalidManifest, NoSuchJob
from kubedistill.labels import CANCEL_ANNOTATION, RERUN_ANNOTATION
from kubedistill.v1alpha1 import DistillationJob

MANAGER = "kubedistill"
"""The field manager of everything that the client writes."""
Change = Literal["created", "configured", "unchanged"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job as the server accepted it, and how the server changed it."""

    job: Job
    change: Change


def submit(
    manifest: DistillationJob | Values, *, namespace: str | None, default: str, force: bool, dry_run: bool = False
) -> Operation[Submitted]:
    """Create a job, or update it to the manifest; take over fields of other managers only with `force`.

    `namespace` is the one that the user asked for. `default` is used if neither the user nor the manifest names one.
    """
    values = manifest_of(manifest) if isinstance(manifest, DistillationJob) else manifest
    metadata = values["metadata"]
    own = metadata.get("namespace")
    if own and namespace and own != namespace:
        fix = "Remove one of them"
        problem = f'the manifest names namespace "{own}", and the command names "{namespace}"'
        raise InvalidManifest(problem, at="metadata.namespace", fix=fix)
    place = own or namespace or default
    name = metadata["name"]
    before = yield from _find(name, namespace=place)
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    query |= {"force": "true"} if force else {}
    query |= {"dryRun": "All"} if dry_run else {}
    body = {**values, "metadata": {**metadata, "namespace": place}}
    after = yield Request("apply", namespace=place, name=name, body=body, query=query)
    return Submitted(read_job(after), _change(before, after))


def get(name: str, *, namespace: str) -> Operation[Job]:
    """Return the current state of a job; raises NoSuchJob."""
    return read_job((yield Request("get", namespace=namespace, name=name)))


def select(*, namespace: str) -> Operation[list[Job]]:
    """Return all jobs of a namespace, or of all namespaces if it is empty."""
    return [read_job(one) for one in (yield from resources(namespace=namespace))]


def resources(*, namespace: str) -> Operation[list[Values]]:
    """Return all jobs as JSON values, including those that this version can't read."""
    found = yield Request("list", namespace=namespace)
    return list(found["items"])


def table(*, namespace: str, name: str = "") -> Operation[Values]:
    """Return the table that kubectl prints, as the server renders it; columns of a priority over 0 are for -o wide."""
    query = {"fieldSelector": f"metadata.name={name}"} if name else {}
    return dict((yield Request("table", namespace=namespace, query=query)))


def suspend(name: str, *, namespace: str, value: bool) -> Operation[Job]:
    """Make a job save and stop if `value` is true, or continue if it is false."""
    return (yield from _merge(name, {"spec": {"suspend": value}}, namespace=namespace))


def rerun(name: str, *, namespace: str) -> Operation[Job]:
    """Start another run of the current spec."""
    return (yield from _annotate(name, RERUN_ANNOTATION, namespace=namespace))


def cancel(name: str, *, namespace: str) -> Operation[Job]:
    """Stop a run permanently."""
    return (yield from _annotate(name, CANCEL_ANNOTATION, namespace=namespace))


def delete(name: str, *, namespace: str) -> Operation[None]:
    """Delete a job and all that it owns in the cluster; its files in the store stay."""
    yield Request("delete", namespace=namespace, name=name, query={"propagationPolicy": "Background"})


def events(name: str, *, namespace: str) -> Operation[list[Values]]:
    """Return the Kubernetes Events of a job, oldest first."""
    job = yield from get(name, namespace=namespace)
    fields = f"involvedObject.uid={job.uid}"
    found = yield Request("list", kind="Event", namespace=namespace, query={"fieldSelector": fields})
    return sorted(found["items"], key=event_time)


def event_time(event: Values) -> str:
    """Return the time of the last occurrence of an event, RFC 3339; empty if it is unknown."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return next((str(one) for one in times if one), "")


def _find(name: str, *, namespace: str) -> Operation[Values | None]:
    """Return a job, or None if it does not exist."""
    try:
        return dict((yield Request("get", namespace=namespace, name=name)))
    except NoSuchJob:
        return None


def _change(before: Values | None, after: Values) -> Change:
    """Return what a server-side apply changed, from the job before and after it."""
    if before is None or before["metadata"]["uid"] != after["metadata"]["uid"]:
        return "created"
    same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    # A running operator writes the status all the time; the generation changes only with the spec.
    ours = ("generation", "annotations", "labels")
    same = same or all(before["metadata"].get(one) == after["metadata"].get(one) for one in ours)
    return "unchanged" if same else "configured"


def _merge(name: str, patch: Values, *, namespace: str) -> Operation[Job]:
    query = {"fieldManager": MANAGER}
    return read_job((yield Request("merge", namespace=namespace, name=name, body=patch, query=query)))


def _annotate(name: str, annotation: str, *, namespace: str) -> Operation[Job]:
    token = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    return (yield from _merge(name, {"metadata": {"annotations": {annotation: token}}}, namespace=namespace))
