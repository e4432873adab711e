"""The defaults that decide what an artifact holds, and the file that keeps them with each schema number.

Defaults stay out of keys, so an artifact made before a default changed would be taken for one made after: whoever
changes one raises the artifact's number in SCHEMAS, and writes the file again with COMMAND.
"""

import json
import sys
from pathlib import Path
from typing import Any

from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.keys import SCHEMAS
from support.spec_fields import FIELDS

GOLDEN = Path(__file__).parents[1] / "runtime" / "golden" / "defaults.json"
COMMAND = "PYTHONPATH=tests .venv/bin/python -m support.artifact_defaults > tests/runtime/golden/defaults.json"
STANDS_ON: dict[str, tuple[str, ...]] = {
    "rows": (), "answers": ("rows",), "judge": ("rows",), "dataset": ("answers",),
    "samples": ("dataset", "judge"), "student": ("samples",), "report": ("student",), "export": ("student",),
}  # fmt: skip
# No more than a spec must have, so that all else in it is a default.
LEAST: dict[str, Any] = {
    "task": {"type": "NLI"},
    "teachers": [{"name": "main", "model": {"source": "teacher"}}],
    "student": {"model": {"source": "student"}},
    "data": {"train": {"uri": "train.jsonl"}},
}


def current_defaults() -> dict[str, dict[str, Any]]:
    """Return schema number and defaults of each artifact, a default under each artifact that it enters directly."""
    spec = Spec.model_validate_json(json.dumps(LEAST), by_alias=True, by_name=False)
    values = _flatten(spec.model_dump(mode="json", by_alias=True))
    spelled = _flatten(LEAST)
    found: dict[str, dict[str, Any]] = {name: {"schema": SCHEMAS[name], "defaults": {}} for name in STANDS_ON}
    for path, value in values.items():
        # What is absent above it (a split without a file) has no fields of its own to have defaults.
        changes = FIELDS.get(path, ("", set()))[1]
        for name in changes:
            if path not in spelled and not changes & set(STANDS_ON[name]):
                found[name]["defaults"][path] = value
    return found


def complaint(name: str, *, golden: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return what is to be done about an artifact whose defaults or number are not those of the file."""
    paths = golden["defaults"].keys() | now["defaults"].keys()
    moved = sorted(path for path in paths if golden["defaults"].get(path, "") != now["defaults"].get(path, ""))
    if moved and golden["schema"] == now["schema"]:
        return f"{', '.join(moved)} changed: raise SCHEMAS[{name!r}] in keys.py, then run {COMMAND}"
    return f"{name} changed: run {COMMAND}" if golden != now else None


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        return {path: value for name in node for path, value in _flatten(node[name], f"{prefix}.{name}").items()}
    if prefix == ".teachers":
        return _flatten(node[0], ".teachers.0")
    return {prefix.removeprefix("."): node}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(current_defaults(), indent=2, sort_keys=True) + "\n")
