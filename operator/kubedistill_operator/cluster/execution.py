"""Execution: a Plan carried out in its order, so that the next reconcile understands what a crash left."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.json_values import Json
from kubedistill.labels import JOB_UID_LABEL, MANAGED_BY, PREFIX
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.events import event_manifest
from kubedistill_operator.cluster.failures import (
    AlreadyExists,
    Conflict,
    Leaving,
    NameCollision,
    NotFound,
    OperatorFailure,
    Refused,
    Transient,
)
from kubedistill_operator.cluster.status_writing import stalled_values, status_values
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.observed import DELAYED, Refusal
from kubedistill_operator.plan import Event, Manifest, Plan

_UNPROCESSABLE = 422
_WHOLE = ("ServiceAccount", "Role", "RoleBinding")
"""Kinds that give rights: all that we write of them must be there as it is."""
_CONTENT = ("data", "binaryData", "immutable")
"""What an immutable ConfigMap says beside its metadata."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out plans; `instance` is the name of this replica, for Events."""

    cluster: Cluster
    clock: Callable[[], float]
    instance: str

    async def execute(self, plan: Plan, job: Job) -> Job:
        """Write status, delete, ask to stop, create, tell; whatever follows the status is told even if it fails.

        Gives the job as it is then. Raises what the cluster raises: Conflict where somebody else wrote the job,
        NameCollision where a name is taken.
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
                await self.tell(event, job)
        return job

    async def tell(self, event: Event, job: Job) -> None:
        """Send an Event; nothing depends on whether it arrives."""
        try:
            await self.cluster.create(event_manifest(event, job, now=self.clock(), instance=self.instance))
        except AlreadyExists:  # it was sent before
            return
        except OperatorFailure as error:
            log.warning("event %s was not sent: %s", event.reason, error)

    async def stop_acting(self, job: Job, problem: str) -> Job:
        """Say, once, that a status is not understood; nothing else of it is changed. Gives the job as it is then."""
        values = stalled_values(job, problem, now=self.clock())
        if values is None:
            return job
        job = await self._write_status(values, job)
        await self.tell(Event(NOT_UNDERSTOOD, problem, "Warning"), job)
        return job

    async def _write_status(self, status: Manifest, job: Job) -> Job:
        metadata = {
            # Without its labels and annotations their owners lose them, and write them anew when they apply the same.
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
            raise Conflict(f"{job.namespace}/{job.name} was deleted meanwhile") from error
        return parse_job(written)

    async def _ask_to_stop(self, channel: str, *, namespace: str) -> None:
        operation = {"op": "add", "path": "/data/stop", "value": "true"}
        try:
            await self.cluster.patch("ConfigMap", channel, [operation], namespace=namespace)
        except NotFound:  # then nobody listens any more
            return
        except Refused as error:
            if error.code != _UNPROCESSABLE:
                raise
            log.warning("%s/%s was emptied or sealed by somebody, and no driver can be asked there", namespace, channel)

    async def _create(self, manifests: tuple[Manifest, ...], job: Job) -> None:
        uids: dict[tuple[str, str], str] = {}
        for manifest in manifests:  # nothing owned by a child may be in the way of it, or it would start for nothing
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
            raise Leaving(f"{manifest['kind']} {job.namespace}/{name} is on its way out")
        _check_ours(manifest, found, job)
        return found

    async def _with_owner(self, manifest: Manifest, uids: Mapping[tuple[str, str], str]) -> Manifest:
        """The manifest with the uid of the child that owns it, where it is owned by one."""
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
            raise Transient(f"{kind} {namespace}/{name} is gone, and was to own what is made")
        return str(found["metadata"]["uid"])


def _check_ours(manifest: Manifest, found: Manifest, job: Job) -> None:
    """Raise Leaving where what has the name of ours is about to go, and NameCollision where it is somebody else's."""
    what = f"{manifest['kind']} {job.namespace}/{manifest['metadata']['name']}"
    if "deletionTimestamp" in found["metadata"]:
        raise Leaving(f"{what} is on its way out; see its finalizers if it stays")
    if is_same(manifest, found):
        return
    if _is_collected(found, uid=job.uid):
        raise Leaving(f"{what} belongs to an earlier job of this name, and is about to be collected")
    raise NameCollision(f"{what} is there and not ours; delete it or rename the job")


def read_refusal(error: Refused | NameCollision | Transient) -> Refusal:
    """What a decision needs to know of a creation that was refused, or could not be carried out for now."""
    if isinstance(error, Transient):
        return Refusal(DELAYED, str(error), is_passing=True)
    if isinstance(error, NameCollision):
        return Refusal("NameTaken", str(error), is_passing=isinstance(error, Leaving))
    return Refusal("", str(error))


def is_same(ours: Manifest, found: Manifest) -> bool:
    """Whether what was found is what we would have made: labels (run and attempt among them), owners and content.

    What gives rights is compared whole: nobody else's account, Role or binding is taken for ours.
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
    """Whether an owner is one of them; a child that is not there yet goes by its name."""
    field = "uid" if owner["uid"] else "name"
    return any((one["kind"], one[field]) == (owner["kind"], owner[field]) for one in owners)


def _holds(found: Json, ours: Json) -> bool:
    """Whether all that we would have written is there as it is; maps may hold more, which others have added."""
    if isinstance(ours, Mapping):
        return isinstance(found, Mapping) and all(_holds(found.get(name), value) for name, value in ours.items())
    if isinstance(ours, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(ours):
            return False
        return all(_holds(*pair) for pair in zip(found, ours, strict=True))
    return bool(found == ours)


def _has_content(ours: Manifest, found: Manifest) -> bool:
    """Whether what was found says what we would, as far as nobody else ever changes it: a channel is its driver's."""
    if ours["kind"] != "ConfigMap" or not ours.get("immutable"):
        return True
    return all(found.get(field) == ours.get(field) for field in _CONTENT)


def _is_collected(found: Manifest, *, uid: str) -> bool:
    """Whether an object of an earlier job has an owner still: without one it stays for ever."""
    labels = found["metadata"].get("labels") or {}
    earlier = MANAGED_BY.items() <= labels.items() and labels.get(JOB_UID_LABEL) != uid
    return bool(earlier and found["metadata"].get("ownerReferences"))
