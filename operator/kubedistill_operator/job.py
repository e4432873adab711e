"""A DistillationJob as the operator reads it: spec and status as models, and no exception for their content."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from kubedistill.contract.stored_status import StoredStatus, read_status
from kubedistill.json_values import Json
from kubedistill.labels import PREFIX
from kubedistill.manifest.problems import field_path, find_problem
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Spec, Status
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.observed import Resource
from kubedistill_operator.status import derive_phase

Key = tuple[str, str]
"""(namespace, name) of a job."""

_PROBLEM = 700
_ORPHAN = "orphan"
"""The garbage collector's finalizer while it orphans what a job owns."""


@dataclass(frozen=True, slots=True)
class Job:
    """One resource; `created` is in seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    created: float = 0.0
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    """The finalizers that hold the job when it is deleted."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Our own annotations only."""
    spec: Spec | None = None
    problem: str = ""
    """What is invalid or unknown in the spec; no new run starts with it."""
    status: Status = field(default_factory=Status)
    not_understood: str = ""
    """What is not understood of the stored status; if set, nothing is decided about the job."""
    stored_status: Resource = field(default_factory=dict)
    """The status as it is stored: writes keep what this version does not know."""
    metadata: Resource = field(default_factory=dict)
    """All metadata as it was read: what a write leaves out counts as removed."""

    @property
    def orphans(self) -> bool:
        """Whether it is being deleted in a way that keeps what it owns."""
        return self.deleting and _ORPHAN in self.finalizers


def parse_job(resource: Resource) -> Job:
    """Read a resource of the API server; fields of a newer version are ignored."""
    metadata = resource["metadata"]
    spec, problem = _read_spec(resource.get("spec"))
    stored_status = resource.get("status")
    stored_status = stored_status if isinstance(stored_status, Mapping) else {}
    found = _read_status(stored_status)
    annotations = metadata.get("annotations") or {}
    return Job(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        resource_version=metadata.get("resourceVersion", ""),
        created=seconds_of(metadata.get("creationTimestamp", "")) or 0.0,
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations={key: value for key, value in annotations.items() if key.startswith(PREFIX)},
        spec=spec,
        problem=problem,
        status=found.status,
        not_understood=found.problem,
        stored_status=stored_status,
        metadata={name: value for name, value in metadata.items() if name != "managedFields"},
    )


def _read_spec(values: Json) -> tuple[Spec | None, str]:
    """Return the spec as far as it is known, and its problem; no new run starts with a spec that is not fully known."""
    try:
        return Spec.model_validate_json(json.dumps(values), by_alias=True, by_name=False), ""
    except ValidationError as error:
        found = find_problem(error, model=Spec, place=lambda location: field_path(("spec", *location)))
    try:
        return read_stored(Spec, values), str(found)[:_PROBLEM]
    except ValidationError:
        return None, str(found)[:_PROBLEM]


def _read_status(values: Resource) -> StoredStatus:
    stored = read_status(values)
    if stored.status.phase is None and values.get("phase"):  # written by another version
        phase = derive_phase(stored.status)
        return replace(stored, status=stored.status.model_copy(update={"phase": phase}))
    return stored
