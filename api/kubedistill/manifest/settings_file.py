"""The settings file: YAML becomes Settings, or one clear message says why it does not."""

import json
from pathlib import Path

from pydantic import ValidationError

from kubedistill.errors import InvalidInput, InvalidManifest
from kubedistill.manifest.document import Document, FileKind, read_document
from kubedistill.manifest.problems import find_problem
from kubedistill.manifest.settings import Settings

_SETTINGS = FileKind("settings file", "mapping of settings", "`{}` uses all defaults")
_CHART_FIELD = "settings"
"""The value of the chart that is the settings file; the settings have no field of that name."""


class InvalidSettings(InvalidInput):
    """The operator's settings file can't be used."""


def load_settings(path: Path) -> Settings:
    """Read the operator's settings from a YAML 1.2 file; raises InvalidSettings like read_settings."""
    return read_settings(path)[0]


def read_settings(path: Path) -> tuple[Settings, Document]:
    """Return the operator's settings and the document that has them.

    Raises InvalidSettings with file, line, field path, problem and fix; further problems follow, one per line.
    """
    try:
        document = read_document(path, kind=_SETTINGS)
    except InvalidManifest as error:
        raise InvalidSettings(error.problem, at=error.at, fix=error.fix) from error
    if _CHART_FIELD in document.values:
        problem = "these are the values of the Helm chart, of which `settings` has the operator's settings"
        fix = f"Check what is below `settings` alone, as in `yq .{_CHART_FIELD} {path.name} > settings.yaml`"
        raise InvalidSettings(problem, at=document.place((_CHART_FIELD,)), fix=fix)
    try:
        settings = Settings.model_validate_json(json.dumps(document.values), by_alias=True, by_name=False)
    except ValidationError as error:
        first = find_problem(error, model=Settings, place=document.place)
        raise InvalidSettings(first.problem, at=first.at, fix=first.fix) from error
    return settings, document
