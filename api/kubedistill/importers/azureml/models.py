"""The table of models: their names in Azure ML, and the sources of the same models."""

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
"""Models by plain name: lower case, with a dash between the parts."""
_TABLE = FileKind("table of models", "mapping `models`", "docs/migration.md shows one")


class ModelTable(Model):
    """A file that maps names of Azure ML to models."""

    models: Annotated[dict[str, TeacherModel], Field(min_length=1)]
    """Models by their names in Azure ML; a student uses only source, revision and trustRemoteCode of its model."""


def load_models(own: Path | None = None) -> Models:
    """Return the models of the package, overridden by those of the user's file.

    Raises InvalidManifest with file, line, problem and fix.
    """
    with as_file(files("kubedistill.importers.azureml") / "models.yaml") as path:
        known = _read(path)
    return known | (_read(own) if own is not None else {})


def plain_name(name: str) -> str:
    """Return a name in the form in which names are compared: Meta-Llama-3.1-8B becomes meta-llama-3-1-8b."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def find_model(name: str, models: Models) -> TeacherModel | None:
    """Return the model whose name in the table is the longest prefix of a name; None if there is none."""
    plain = plain_name(name)
    matching = [known for known in models if f"{plain}-".startswith(f"{known}-")]
    return models[max(matching, key=len)] if matching else None


def _read(path: Path) -> dict[str, TeacherModel]:
    """Read a table of models; raises InvalidManifest."""
    document = read_document(path, kind=_TABLE)
    try:
        table = ModelTable.model_validate(document.values, by_alias=True, by_name=False)
    except ValidationError as error:
        first = find_problem(error, model=ModelTable, place=document.place)
        raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error
    return {plain_name(name): model for name, model in table.models.items()}
