"""One session for all tests of this folder: Ray and vLLM are started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngines]:
    session = LocalEngines(leftovers=tmp_path_factory.mktemp("session") / "processes.json", ahead=True)
    session.warm()
    yield session
    session.close()


@pytest.fixture
def teacher(tmp_path: Path) -> Model:
    return find_model("teacher", trust_remote_code=False, data_root=QUICKSTART, store=Store(tmp_path), at="teacher")
