"""One undisturbed run of the small job, which every test compares itself with or continues from."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from support.small_job import OFFLINE, Reference, SmallJob, make_job, run_job


@pytest.fixture
def job(tmp_path: Path) -> SmallJob:
    return make_job(tmp_path / "job")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    job = make_job(folder / "job")
    ended = run_job(job.manifest, folder / "store", prefix=OFFLINE)
    assert ended.code == 0, ended.stderr[-3000:]
    return Reference(job, folder / "store", ended)


@pytest.fixture
def copy_store(tmp_path: Path, reference: Reference) -> Callable[[], Path]:
    """Copy the finished store, so that a test may continue from it."""

    def copy() -> Path:
        return Path(shutil.copytree(reference.store, tmp_path / f"copy-{uuid.uuid4().hex[:8]}"))

    return copy
