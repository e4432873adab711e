"""A store, and the quickstart's student as the model that is asked."""

import json
from pathlib import Path

import pytest

from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART


@pytest.fixture(scope="session")
def model() -> Model:
    folder = QUICKSTART / "student"
    return Model("student", folder, "digest", 0, json.loads((folder / "config.json").read_text()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
