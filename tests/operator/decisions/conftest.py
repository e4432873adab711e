"""One job and its cluster, in which time moves only when a test moves it."""

import pytest

from world import World


@pytest.fixture
def world() -> World:
    return World()
