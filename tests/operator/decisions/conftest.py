"""One job and its cluster, in which time moves only when a test moves it."""

import pytest

from support.fake_cluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()
