"""Execution: carries out a Plan in a fixed order, so that the next reconcile understands what a crash left."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.json_values import Json
from kubedistill.labels import JOB_UID_LABEL, MANAGED_BY, PREFIX
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.api_errors import (
    AlreadyExists,
    BeingDeleted,
    Conflict,
    NameCollision,
    NotFound,
    OperatorFailure,
    Refused,
    Transient,
)
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.events import event_manifest
from kubedistill_operator.cluster.status_writing import stalled_values, status_values
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.observed import DELAYED, Refusal
from kubedistill_operator.plan import Event, Manifest, Plan

_UNPROCESSABLE = 422
_WHOLE = ("ServiceAccount", "Role", "RoleBinding")
"""Kinds that grant rights: everything that we write of them must exist unchanged."""
_CONTENT = ("data", "binaryData", "immutable")
"""The content of an immutable ConfigMap, besides its metadata."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out plans; `instance` is the name of this replica, for Events."""

    cluster: Cluster
    clock: Callable[[], float]
    instance: str

    async def execute(self, plan: Plan, job: Job) -> Job:
        """Write the status, delete, ask to stop, create, and send Events, which are sent even if a step fails.

        Returns the job as it is then. Raises the errors of the cluster: Conflict if the job was changed meanwhile,
        NameCollision if a name is in use.
        """
        if plan.status is not None:
            job = await self._write_status(status_values(plan.status, stored=job.stored_status), job)
        try:
            for deletion in plan.delete:
                await self.cluster.delete(deletion.kind, deletion.name, namespace=job.namespace, uid=deletion.uid)
            if plan.stop is not None:
                await self._ask_to_stop(plan.stop.channel, namespace=job.namespace)
            await self._create(plan.create, job)
        finally:
            for event in plan.events:
                await self.send_event(event, job)
        return job

    async def send_event(self, event: Event, job: Job) -> None:
        """Send an Event; nothing depends on its arrival."""
        try:
            await self.cluster.create(event_manifest(event, job, now=self.clock(), instance=self.instance))
        except AlreadyExists:  # it was sent before
            return
        except OperatorFailure as error:
            log.warning("event %s was not sent: %s", event.reason, error)

    async def stop_acting(self, job: Job, problem: str) -> Job:
        """Report, once, that a status is not understood, and change nothing else. Returns the job as it is then."""
        values = stalled_values(job, problem, now=self.clock())
        if values is None:
            return job
        job = await self._write_status(values, job)
        await self.send_event(Event(NOT_UNDERSTOOD, problem, "Warning"), job)
        return job

    async def _write_status(self, status: Manifest, job: Job) -> Job:
        metadata = {
            # A write without labels and annotations would remove them, and their owners would apply them again.
            **job.metadata,
            "name": job.name,
            "namespace": job.namespace,
            "uid": job.uid,
            "resourceVersion": job.resource_version,
        }
        manifest = {**KINDS[KIND].header, "metadata": metadata, "status": status}
        try:
            written = await self.cluster.replace(manifest, subresource="status")
        except NotFound as error:
            raise Conflict(f"{job.namespace}/{job.name} has been deleted") from error
        return parse_job(written)

    async def _ask_to_stop(self, channel: str, *, namespace: str) -> None:
        operation = {"op": "add", "path": "/data/stop", "value": "true"}
        try:
            await self.cluster.patch("ConfigMap", channel, [operation], namespace=namespace)
        except NotFound:  # the driver has ended
            return
        except Refused as error:
            if error.code != _UNPROCESSABLE:
                raise
            log.warning("%s/%s was emptied or made immutable: its driver cannot be asked to stop", namespace, channel)

    async def _create(self, manifests: tuple[Manifest, ...], job: Job) -> None:
        uids: dict[tuple[str, str], str] = {}
        for manifest in manifests:  # check what the child will own before it is created, or it would start in vain
            if any(not owner["uid"] for owner in manifest["metadata"].get("ownerReferences", ())):
                found = await self.cluster.get(manifest["kind"], manifest["metadata"]["name"], namespace=job.namespace)
                if found is not None:
                    _check_ours(manifest, found, job)
        for manifest in manifests:
            made = await self._create_one(await self._with_owner(manifest, uids), job)
            uids[manifest["kind"], manifest["metadata"]["name"]] = made["metadata"]["uid"]

    async def _create_one(self, manifest: Manifest, job: Job) -> Manifest:
        try:
            return await self.cluster.create(manifest)
        except AlreadyExists:
            name = manifest["metadata"]["name"]
            found = await self.cluster.get(manifest["kind"], name, namespace=job.namespace)
        except NotFound as error:
            raise Transient(f"namespace {job.namespace} is gone") from error
        if found is None:
            raise BeingDeleted(f"{manifest['kind']} {job.namespace}/{name} is being deleted")
        _check_ours(manifest, found, job)
        return found

    async def _with_owner(self, manifest: Manifest, uids: Mapping[tuple[str, str], str]) -> Manifest:
        """Return the manifest with the uid of the child that owns it, if a child does."""
        owners = []
        for owner in manifest["metadata"].get("ownerReferences", ()):
            if not owner["uid"]:
                kind, name = owner["kind"], owner["name"]
                uid = uids.get((kind, name)) or await self._uid_of(kind, name, manifest["metadata"]["namespace"])
                owner = {**owner, "uid": uid}  # noqa: PLW2901
            owners.append(owner)
        return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": owners}}

    async def _uid_of(self, kind: str, name: str, namespace: str) -> str:
        found = await self.cluster.get(kind, name, namespace=namespace)
        if found is None:
            raise Transient(f"{kind} {namespace}/{name} is gone, but should own the new objects")
        return str(found["metadata"]["uid"])


def _check_ours(manifest: Manifest, found: Manifest, job: Job) -> None:
    """Raise BeingDeleted if an object with our name is about to go, and NameCollision if it is somebody else's."""
    what = f"{manifest['kind']} {job.namespace}/{manifest['metadata']['name']}"
    if "deletionTimestamp" in found["metadata"]:
        raise BeingDeleted(f"{what} is being deleted; check its finalizers if it remains")
    if is_same(manifest, found):
        return
    if _is_collected(found, uid=job.uid):
        raise BeingDeleted(f"{what} belongs to an earlier job of this name, and will be garbage-collected")
    raise NameCollision(f"{what} exists and does not belong to this job; delete it or rename the job")


def read_refusal(error: Refused | NameCollision | Transient) -> Refusal:
    """Return what a decision needs to know about a creation that was refused or delayed."""
    if isinstance(error, Transient):
        return Refusal(DELAYED, str(error), is_passing=True)
    if isinstance(error, NameCollision):
        return Refusal("NameTaken", str(error), is_passing=isinstance(error, BeingDeleted))
    return Refusal("", str(error))


def is_same(ours: Manifest, found: Manifest) -> bool:
    """Return whether an object is the one that we would create: labels (with run and attempt), owners and content.

    Objects that grant rights must match completely: somebody else's account, Role or binding is never used.
    """
    wanted, labels = ours["metadata"], found["metadata"].get("labels") or {}
    owners = found["metadata"].get("ownerReferences") or ()
    if not all(_is_among(one, owners) for one in wanted.get("ownerReferences", ())):
        return False
    if ours["kind"] in _WHOLE:
        without_owners = {name: value for name, value in wanted.items() if name != "ownerReferences"}
        alone = len(owners) == len(wanted.get("ownerReferences", ()))
        return alone and _holds(found, {**ours, "metadata": without_owners})
    return _has_content(ours, found) and all(
        labels.get(name) == value for name, value in wanted.get("labels", {}).items() if name.startswith(PREFIX)
    )


def _is_among(owner: Manifest, owners: Sequence[Manifest]) -> bool:
    """Return whether an owner is among others; an owner without a uid is compared by name."""
    field = "uid" if owner["uid"] else "name"
    return any((one["kind"], one[field]) == (owner["kind"], owner[field]) for one in owners)


def _holds(found: Json, ours: Json) -> bool:
    """Return whether everything that we would write exists unchanged; maps may contain additions of others."""
    if isinstance(ours, Mapping):
        return isinstance(found, Mapping) and all(_holds(found.get(name), value) for name, value in ours.items())
    if isinstance(ours, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(ours):
            return False
        return all(_holds(*pair) for pair in zip(found, ours, strict=True))
    return bool(found == ours)


def _has_content(ours: Manifest, found: Manifest) -> bool:
    """Return whether an object has our content, as far as nobody else changes it: a channel belongs to its driver."""
    if ours["kind"] != "ConfigMap" or not ours.get("immutable"):
        return True
    return all(found.get(field) == ours.get(field) for field in _CONTENT)


def _is_collected(found: Manifest, *, uid: str) -> bool:
    """Return whether an object of an earlier job still has an owner; without one it is never collected."""
    labels = found["metadata"].get("labels") or {}
    earlier = MANAGED_BY.items() <= labels.items() and labels.get(JOB_UID_LABEL) != uid
    return bool(earlier and found["metadata"].get("ownerReferences"))
