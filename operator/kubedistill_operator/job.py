"""A DistillationJob as the operator reads it: spec and status as models, and never an exception for what is in them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from kubedistill.problems import field_path, find_problem
from kubedistill.v1alpha1 import GROUP, Spec, Status
from kubedistill_operator.clock import seconds_of

Key = tuple[str, str]
"""(namespace, name) of a job."""

_PROBLEM = 700
_LASTING = ("runHistory", "honoured")
"""What a damaged status still keeps, each for itself: without them a run that is over would start again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One resource; created is in seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    created: float = 0.0
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Our own annotations only."""
    spec: Spec | None = None
    problem: str = ""
    """Why the spec can't be read, where it can't."""
    status: Status = field(default_factory=Status)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """All metadata as it was read, for whoever writes the job: what is left out of a write counts as given up."""


def parse_job(resource: Mapping[str, Any]) -> Job:
    """Read a resource as the API server gives it; fields of a newer version are ignored."""
    metadata = resource["metadata"]
    spec, problem = _read_spec(resource.get("spec"))
    annotations = metadata.get("annotations") or {}
    return Job(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        resource_version=metadata.get("resourceVersion", ""),
        created=seconds_of(metadata.get("creationTimestamp", "")) or 0.0,
        deleting="deletionTimestamp" in metadata,
        annotations={key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")},
        spec=spec,
        problem=problem,
        status=_read_status(resource.get("status")),
        metadata={name: value for name, value in metadata.items() if name != "managedFields"},
    )


def _read_spec(values: object) -> tuple[Spec | None, str]:
    try:
        return Spec.model_validate_json(json.dumps(values), extra="ignore", by_alias=True, by_name=False), ""
    except ValidationError as error:
        found = find_problem(error, model=Spec, place=lambda location: field_path(("spec", *location)))
        return None, str(found)[:_PROBLEM]


def _read_status(values: object) -> Status:
    if not isinstance(values, dict):
        return Status()
    if (status := _parse_status(values)) is not None:
        return status
    kept = {name: values[name] for name in _LASTING if _keeps(values, name)}
    return _parse_status(kept) or Status()  # written by another hand or version: the rest is found out again


def _keeps(values: dict[str, Any], name: str) -> bool:
    return name in values and _parse_status({name: values[name]}) is not None


def _parse_status(values: dict[str, Any]) -> Status | None:
    try:
        return Status.model_validate_json(json.dumps(values), extra="ignore", by_alias=True, by_name=False)
    except ValidationError:
        return None
