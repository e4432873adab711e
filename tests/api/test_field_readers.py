"""Every field that a user or a platform can set is read: tests/support/field_readers.py says by what."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import kubedistill
from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import Spec
from support.field_readers import SETTINGS, SPEC, UNREAD, leaves

ROOT = Path(kubedistill.__file__).parents[2]
MODELS: dict[str, tuple[type[BaseModel], dict[str, tuple[str, str]]]] = {
    "spec": (Spec, SPEC), "settings": (Settings, SETTINGS),
}  # fmt: skip
ROWS = [(of, path) for of, (_, table) in MODELS.items() for path in table]


@pytest.mark.parametrize("of", MODELS)
def test_each_field_is_in_the_table_or_is_a_named_exception(of: str) -> None:
    model, table = MODELS[of]
    assert {path for path, _ in leaves(model)} - table.keys() == UNREAD[of], "say what reads a new field"
    assert table.keys() <= {path for path, _ in leaves(model)}, "no field leaves the schema"


def test_no_further_field_waits_for_a_reader() -> None:
    assert {"spec": {"training.objective.temperature"}, "settings": set()} == UNREAD


@pytest.mark.parametrize(("of", "path"), ROWS, ids=[f"{of}.{path}" for of, path in ROWS])
def test_what_is_said_to_read_a_field_does(of: str, path: str) -> None:
    module, words = MODELS[of][1][path]
    name = dict(leaves(MODELS[of][0]))[path]
    text = (ROOT / module).read_text(encoding="utf-8")
    assert re.search(rf"{re.escape(words)}(?!\w)", text), f"{module} has no {words!r}"
    assert name in words or words.endswith("model_dump"), "the words are about this field"


def test_an_exception_is_read_by_nothing_yet() -> None:
    """Who begins to read it adds its row."""
    found = [
        path
        for root in ("api", "operator", "runtime")
        for path in (ROOT / root).rglob("*.py")
        if re.search(r"objective\.temperature\b", path.read_text(encoding="utf-8"))
    ]
    assert found == []
