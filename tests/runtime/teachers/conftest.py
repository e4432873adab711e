"""The quickstart's chat format, a store, and records by their prompts."""

import json
from pathlib import Path

import pytest

from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from workshop import QUICKSTART


@pytest.fixture(scope="session")
def model() -> Model:
    folder = QUICKSTART / "student"
    return Model("student", folder, "digest", 0, json.loads((folder / "config.json").read_text()))


@pytest.fixture(scope="session")
def chat(model: Model) -> ChatFormat:
    return load_chat_format(model, at="student")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
