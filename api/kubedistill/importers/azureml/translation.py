"""Translation of an Azure ML distillation job to a DistillationJob, with a remark for every difference."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kubedistill.errors import InvalidManifest
from kubedistill.importers.azureml.fields import FIELDS, Field
from kubedistill.importers.azureml.models import Models
from kubedistill.importers.azureml.readers import Leaf, Reading, read_name
from kubedistill.manifest.document import Document, FileKind, read_document
from kubedistill.manifest.problems import Location, field_path, find_problem, quote_value
from kubedistill.v1alpha1 import API_VERSION, KIND, DistillationJob

Values = dict[str, Any]
_FILE_KIND = FileKind("manifest", "Azure ML distillation job", "docs/migration.md lists the supported fields")
_SHORT = {"student_model": "path", "training_data": "path", "validation_data": "path",
          "teacher_model_endpoint_connection": "name"}  # fmt: skip
"""Fields that may be a string instead of a mapping, and the field of the mapping that the string means."""
_REQUIRED = ("data_generation_task_type", "teacher_model_endpoint_connection.name", "student_model.path",
             "training_data.path")  # fmt: skip
_UNKNOWN = "Azure ML's documentation of distillation has no such field"
_POOLS = "Azure ML chose the machines; name pools of your cluster here and in spec.student.resources"


@dataclass(frozen=True, slots=True)
class Remark:
    """One difference from the Azure ML job."""

    field: str
    """The field of the Azure ML manifest; for the last remark, of the DistillationJob."""
    message: str
    dropped: bool
    """Whether the field was left out."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A DistillationJob as JSON values, and how it differs from the Azure ML job."""

    values: Values
    remarks: tuple[Remark, ...]


def translate(path: Path, *, models: Models) -> Translation:
    """Read an Azure ML distillation job, YAML or the JSON of the Python SDK's dict.

    Raises InvalidManifest with file, line and field in the Azure ML manifest, problem and fix.
    """
    document = read_document(path, kind=_FILE_KIND)
    if (kind := document.values.get("type")) != "distillation":
        problem = f"{quote_value(kind)} is not distillation" if kind is not None else "the required field is missing"
        raise InvalidManifest(problem, at=document.place(("type",)), fix="Name a job with type: distillation")
    found = {name: (location, value) for name, location, value in _leaves(document.values, ())}
    for name in _REQUIRED:
        if name not in found:
            where = document.place(tuple(name.split(".")))
            raise InvalidManifest("the required field is missing", at=where, fix="Add it")
    draft = _Draft(document, models)
    for field in FIELDS:
        for name in [name for name in found if _matches(name, field.source)]:
            draft.add(field, *found.pop(name))
    for location, _ in found.values():
        draft.drop(location, _UNKNOWN)
    return draft.finish()


class _Draft:
    """An incomplete DistillationJob."""

    def __init__(self, document: Document, models: Models) -> None:
        self.document, self.models = document, models
        name = read_name(Leaf(document.path.stem, str(document.path))).value
        self.values: Values = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}
        self.remarks: list[Remark] = []
        self.sources: dict[Location, Location] = {}
        """The field in the Azure ML manifest, by field of the DistillationJob."""

    def add(self, field: Field, location: Location, value: Any) -> None:
        """Set the field that a row of the table names, or add a remark why not."""
        reading = Reading(None) if field.read is None else field.read(self._leaf(location, value))
        if value in field.quiet:
            return
        if not field.target:
            if field.read is None:
                self.drop(location, field.why)
            return
        target = field.path
        if target in self.sources:
            self.drop(location, f"{field_path(self.sources[target])} already sets this")
            return
        self.sources[target] = location
        _put(self.values, target, reading.value)
        if reading.remark:
            self.remarks.append(Remark(field_path(location), reading.remark, dropped=False))

    def drop(self, location: Location, why: str) -> None:
        """Add a remark that a field is left out, and why."""
        self.remarks.append(Remark(field_path(location), why, dropped=True))

    def finish(self) -> Translation:
        """Return the job; raises InvalidManifest with the field of the Azure ML manifest that is wrong."""
        self.values["spec"]["student"]["resources"] = {"workers": 1, "gpusPerWorker": 1}
        try:
            DistillationJob.model_validate_json(json.dumps(self.values), by_alias=True, by_name=False)
        except ValidationError as error:
            first = find_problem(error, model=DistillationJob, place=self._source_of)
            raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error
        remarks = (*self.remarks, Remark("spec.teachers[0].resources.pool", _POOLS, dropped=False))
        return Translation(self.values, remarks)

    def _leaf(self, location: Location, value: Any) -> Leaf:
        """Return a value with its place and its siblings in the Azure ML manifest."""
        siblings: Any = self.document.values
        for part in location[:-1]:
            siblings = siblings[part] if isinstance(siblings[part], dict) else {}
        return Leaf(value, self.document.place(location), self.models, siblings)

    def _source_of(self, target: Location) -> str:
        matching = [known for known in self.sources if target[: len(known)] == known]
        if matching:
            return self.document.place(self.sources[max(matching, key=len)])
        # The problem is a combination of fields; the last one that was translated is the one that does not fit.
        parts = [source for known, source in self.sources.items() if known[: len(target)] == target]
        return self.document.place(parts[-1]) if parts else field_path(target)


def _leaves(values: Mapping[str, Any], location: Location) -> Iterator[tuple[str, Location, Any]]:
    """Yield (name, location, value) of all fields that are set, down to the fields that a row of the table names."""
    for key, value in values.items():
        here = (*location, key)
        name = field_path(here)
        if value is None:
            continue
        if name in _SHORT and isinstance(value, str):
            yield f"{name}.{_SHORT[name]}", here, value
        elif isinstance(value, dict) and not any(field.source == name for field in FIELDS):
            yield from _leaves(value, here)
        else:
            yield name, here, value


def _matches(name: str, source: str) -> bool:
    return name.startswith(source[:-1]) if source.endswith(".*") else name == source


def _put(values: Values, target: Location, value: Any) -> None:
    """Set a field at a path, and create the mappings on the way."""
    for part in target[:-1]:
        values = values.setdefault(str(part), {})
    values[str(target[-1])] = value
