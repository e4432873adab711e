"""Clusters as earlier versions left them."""

from collections.abc import Iterator

import pytest

import old_cluster as clusters
from kubernetes_binaries import find_binaries
from stored_release import releases


@pytest.fixture(scope="session", params=releases(), ids=lambda old: old.version)
def old_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.OldCluster]:
    """A cluster as a version left it, in which nothing has run since."""
    find_binaries()  # fails at once, and says what to do
    with clusters.old_cluster(request.param, tmp_path_factory.mktemp("upgrade")) as cluster:
        yield cluster
