"""Loading of manifests: a YAML file becomes a DistillationJob, or raises one error."""

import json
from pathlib import Path

from pydantic import ValidationError

from kubedistill.errors import InvalidManifest
from kubedistill.manifest.document import Document, read_document
from kubedistill.manifest.problems import explain_unknown, find_problem, quote_value
from kubedistill.v1alpha1 import API_VERSION, KIND, DistillationJob

_METADATA = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
"""The fields of Kubernetes' object metadata: the API server refuses other fields, or drops them silently."""


def load_manifest(path: Path | str) -> DistillationJob:
    """Read a DistillationJob from a YAML 1.2 file, in which 2e-5 is a number.

    Raises InvalidManifest with file, line, field path, problem and fix, and further problems on lines of their own.
    """
    document = read_document(Path(path))
    for field, wanted in (("kind", KIND), ("apiVersion", API_VERSION)):
        if (found := document.values.get(field)) != wanted:
            problem = f"{quote_value(found)} is not {wanted}" if found is not None else "the required field is missing"
            raise InvalidManifest(problem, at=document.place((field,)), fix=f"Write {field}: {wanted}")
    _check_metadata(document)
    try:
        return DistillationJob.model_validate_json(json.dumps(document.values), by_alias=True, by_name=False)
    except ValidationError as error:
        first = find_problem(error, model=DistillationJob, place=document.place)
        raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error


def _check_metadata(document: Document) -> None:
    """Raise InvalidManifest for unknown fields of the metadata, which the model would ignore."""
    metadata = document.values.get("metadata")
    for field in metadata if isinstance(metadata, dict) else ():
        if field not in _METADATA:
            problem, fix = explain_unknown(field, known=_METADATA)
            raise InvalidManifest(problem, at=document.place(("metadata", field)), fix=fix)
