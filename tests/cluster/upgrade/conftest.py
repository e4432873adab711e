"""Clusters as earlier versions left them."""

from collections.abc import Iterator

import pytest

from support import old_cluster as clusters
from support.kubernetes_binaries import find_binaries
from support.stored_release import releases


@pytest.fixture(scope="session", params=releases(), ids=lambda old: old.version)
def old_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.OldCluster]:
    """Yield a cluster as a version left it, in which nothing has run since."""
    find_binaries()  # fails at once, and says what to do
    with clusters.old_cluster(request.param, tmp_path_factory.mktemp("upgrade")) as cluster:
        yield cluster
