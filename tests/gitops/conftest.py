"""What the tests of Argo CD and kstatus share: the interpreter, and every state of a job."""

import os
from collections.abc import Iterator

import pytest

from job_states import STATES, Object, as_object, play
from kubernetes_binaries import NoBinaries
from lua_interpreter import Interpreter, interpreter


@pytest.fixture(scope="session")
def argo() -> Iterator[Interpreter]:
    """Argo CD's interpreter. Where there is no Go, its tests are left out, loudly; in CI they fail."""
    try:
        with interpreter() as running:
            yield running
    except NoBinaries as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def states() -> dict[str, Object]:
    """Every state by its name, as an object that nobody changes."""
    return {name: as_object(play(name)) for name in STATES}
