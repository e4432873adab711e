"""A real API server, its clients and accounts.

The control plane is, in this order: the cluster of KUBEDISTILL_TEST_KUBECONFIG, which must be one for tests, since they
install CRDs and roles in it (KUBECONFIG is never looked at); the one that `make control-plane` has started; a new one
that ends with the session.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import cluster_setup
from support.cluster_setup import (
    OPERATOR,
    OPERATOR_NAMESPACE,
    install_crds,
    install_operator_account,
    refuse_cluster_in_use,
)
from support.control_plane import ControlPlane, default_plane
from support.kube_api import Api, wait_for
from support.kubernetes_binaries import find_binaries

AccountKubeconfig = Callable[..., Path]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that tests may restart, with the CRDs; `.kubeconfig` is the administrator's."""
    plane = default_plane()
    if all(plane.pids.values()):
        with Api(plane.kubeconfig) as api:
            install_crds(api)
        yield plane
        return
    find_binaries()  # fails at once, and says what to do
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"), dies_with_us=True)
    try:
        plane.start_server()
        with Api(plane.kubeconfig) as api:
            install_crds(api)  # before the controllers: the garbage collector looks for new kinds only every 30 s
        plane.start_controllers()
        yield plane
    finally:
        plane.down()


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """Return the administrator's kubeconfig of the cluster that tests use."""
    named = os.environ.get("KUBEDISTILL_TEST_KUBECONFIG")
    if not named:
        return request.getfixturevalue("control_plane").kubeconfig
    with Api(Path(named)) as api:
        refuse_cluster_in_use(api)
        install_crds(api)
    return Path(named).absolute()


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[Api]:
    """Yield the administrator's client."""
    with Api(kubeconfig) as client:
        yield client


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """Yield a namespace of the test's own, deleted afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=name), what="the namespace has its account")
    yield name
    api.delete("v1/Namespace", name)


@pytest.fixture(scope="session")
def account_kubeconfig(api: Api, tmp_path_factory: pytest.TempPathFactory) -> AccountKubeconfig:
    """Return a function of (account, namespace=…) that writes a kubeconfig with a token of that ServiceAccount."""

    def write(account: str, *, namespace: str) -> Path:
        file = tmp_path_factory.mktemp("account") / "kubeconfig"
        return cluster_setup.account_kubeconfig(api, account, namespace=namespace, file=file)

    return write


@pytest.fixture(scope="session")
def operator_kubeconfig(api: Api, account_kubeconfig: AccountKubeconfig) -> Path:
    """Return the kubeconfig of the operator's account, which has the roles of deploy/rbac and no other."""
    install_operator_account(api)
    return account_kubeconfig(OPERATOR, namespace=OPERATOR_NAMESPACE)


@pytest.fixture(scope="session")
def operator_api(operator_kubeconfig: Path) -> Iterator[Api]:
    """Yield a client with the operator's rights."""
    with Api(operator_kubeconfig) as client:
        yield client
