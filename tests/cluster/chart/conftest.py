"""Helm on the cluster of the tests, and releases that are gone afterwards."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.chart_release import Release
from support.helm import Helm
from support.kube_api import Api, wait_for

NewRelease = Callable[..., Release]


@pytest.fixture(scope="session")
def helm(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"), kubeconfig)


@pytest.fixture
def new_namespace(api: Api) -> Iterator[Callable[[], str]]:
    """Yield a function that makes one more namespace in which only pods of the restricted standard may run."""
    made = []

    def make() -> str:
        name = f"test-{secrets.token_hex(4)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        made.append(name)
        wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=name), what="the namespace has its account")
        return name

    yield make
    for name in made:
        api.delete("v1/Namespace", name)


@pytest.fixture
def new_release(api: Api, helm: Helm, new_namespace: Callable[[], str]) -> Iterator[NewRelease]:
    """Yield a function that gives a release by its name, in a namespace of its own or in one that is named."""
    with ExitStack() as releases:

        def make(name: str = "team", *, namespace: str | None = None) -> Release:
            release = Release(helm, api, name, namespace or new_namespace())
            releases.callback(release.uninstall)
            return release

        yield make
