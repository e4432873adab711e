"""What the tests of the runtime's rooms share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.models import Model
from support.job_folder import QUICKSTART, JobFolder, make_job_folder

# A busy machine is not a failure, and every write of the store waits for the disk.


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    return make_job_folder(tmp_path)


@pytest.fixture(scope="session")
def chat() -> ChatFormat:
    """Return the quickstart's; loading it takes seconds."""
    return load_chat_format(Model("student", QUICKSTART / "student", "digest", 0, {}), at="student")


@pytest.fixture
def own_logs() -> Iterator[None]:
    """Let log_to have the root logger, and put back what was there, pytest's own handlers among it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
