"""The table of model ids: Azure ML's name of a model, and where the same model is."""

import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from kubedistill.errors import InvalidManifest
from kubedistill.manifest.document import FileKind, read_document
from kubedistill.manifest.problems import find_problem
from kubedistill.v1alpha1 import TeacherModel
from kubedistill.v1alpha1.base import Model

Models = Mapping[str, TeacherModel]
"""By plain name: lower case, a dash between the parts."""
_TABLE = FileKind("table of models", "mapping `models`", "docs/migration.md shows one")


class ModelTable(Model):
    """A file that says which model a name of Azure ML stands for."""

    models: Annotated[dict[str, TeacherModel], Field(min_length=1)]
    """Models by Azure ML's name; a student takes source, revision and trustRemoteCode of what is there."""


def load_models(own: Path | None = None) -> Models:
    """The package's table, below the user's own; raises InvalidManifest with file, line, problem and fix."""
    with as_file(files("kubedistill.importers.azureml") / "models.yaml") as path:
        known = _read(path)
    return known | (_read(own) if own is not None else {})


def plain_name(name: str) -> str:
    """A model's name as it is compared: Meta-Llama-3.1-8B is meta-llama-3-1-8b."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def find_model(name: str, models: Models) -> TeacherModel | None:
    """The model that a name stands for: the longest one of the table that it is, or begins with."""
    plain = plain_name(name)
    fitting = [known for known in models if f"{plain}-".startswith(f"{known}-")]
    return models[max(fitting, key=len)] if fitting else None


def _read(path: Path) -> dict[str, TeacherModel]:
    document = read_document(path, kind=_TABLE)
    try:
        table = ModelTable.model_validate(document.values, by_alias=True, by_name=False)
    except ValidationError as error:
        first = find_problem(error, model=ModelTable, place=document.place)
        raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error
    return {plain_name(name): model for name, model in table.models.items()}
