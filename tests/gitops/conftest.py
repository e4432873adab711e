"""What the tests of Argo CD and kstatus share: the interpreter, and every state of a job."""

from collections.abc import Iterator

import pytest

from support.job_states import STATES, Object, as_object, play
from support.lua_interpreter import Interpreter, interpreter


@pytest.fixture(scope="session")
def argo() -> Iterator[Interpreter]:
    """Argo CD's interpreter and kstatus."""
    with interpreter() as running:
        yield running


@pytest.fixture(scope="session")
def states() -> dict[str, Object]:
    """Return every state by its name, as an object that nobody changes."""
    return {name: as_object(play(name)) for name in STATES}
