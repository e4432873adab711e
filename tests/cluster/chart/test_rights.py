"""What the operator and a driver may do is what docs/permissions.md shows, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.account_rights import rights
from support.chart_release import Release
from support.cluster_setup import account_kubeconfig
from support.fake_kuberay.background import playing
from support.kube_api import Api, Refused, wait_for
from support.operator_harness import claim, small_job
from support.printed_rights import has_kubectl, print_rights, printed_blocks, read_rights

BLOCKS = printed_blocks()
OPERATOR, LEASE, DRIVER = (
    "The operator in job namespaces",
    "The operator in its own namespace",
    "The driver of an attempt",
)
ACCOUNTS = {"get serviceaccounts", "create serviceaccounts"}
SCOPES = {"all namespaces": False, "one namespace": True}


def rights_of(kubeconfig: Path, namespace: str) -> set[str]:
    with Api(kubeconfig) as client:
        return rights(client, namespace)


def lines(printed: str) -> list[str]:
    """Return the lines of a print, in no order: kubectl's own depends on the kinds of the roles."""
    return sorted(printed.splitlines())


@pytest.fixture
def installed(new_release: Callable[..., Release], namespace: str) -> Callable[..., Release]:
    """Return a function that installs a release for all namespaces or for the test's."""

    def install(*, narrow: bool, **settings: Any) -> Release:
        release = new_release("kubedistill")
        release.install({**settings, **({"watchNamespaces": [namespace]} if narrow else {})})
        return release

    return install


def test_the_page_shows_three_accounts() -> None:
    assert BLOCKS.keys() == {OPERATOR, LEASE, DRIVER}


@pytest.mark.parametrize("scope", SCOPES)
def test_operator_may_do_what_the_page_shows(
    scope: str, installed: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    release = installed(narrow=SCOPES[scope])
    kubeconfig = release.kubeconfig(tmp_path)
    shown = read_rights(BLOCKS[OPERATOR])
    # The server notices a new role some milliseconds later.
    wait_for(lambda: shown <= rights_of(kubeconfig, namespace), what="the roles are noticed")
    assert rights_of(kubeconfig, namespace) == shown
    if has_kubectl():
        assert lines(print_rights(kubeconfig, namespace=namespace)) == lines(BLOCKS[OPERATOR])


def test_operator_may_hold_its_lease_at_home_and_do_nothing_else_there(
    installed: Callable[..., Release], tmp_path: Path
) -> None:
    release = installed(narrow=True)
    kubeconfig = release.kubeconfig(tmp_path)
    shown = read_rights(BLOCKS[LEASE])
    wait_for(lambda: shown <= rights_of(kubeconfig, release.namespace), what="the roles are noticed")
    assert rights_of(kubeconfig, release.namespace) == shown
    if has_kubectl():
        assert lines(print_rights(kubeconfig, namespace=release.namespace)) == lines(BLOCKS[LEASE])


def test_operator_of_a_team_may_do_nothing_elsewhere(
    installed: Callable[..., Release], new_namespace: Callable[[], str], tmp_path: Path
) -> None:
    release, elsewhere = installed(narrow=True), new_namespace()
    kubeconfig = release.kubeconfig(tmp_path)
    at_home = {right for right in rights_of(kubeconfig, release.namespace) if "leases" not in right}
    assert rights_of(kubeconfig, elsewhere) == at_home


@pytest.mark.parametrize("scope", SCOPES)
def test_operator_may_do_less_where_settings_say_so(
    scope: str, installed: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    release = installed(narrow=SCOPES[scope], rbac={"nodes": False, "createServiceAccounts": False, "events": False})
    kubeconfig = release.kubeconfig(tmp_path)
    shown = read_rights(BLOCKS[OPERATOR]) - ACCOUNTS - {"get nodes", "list events"}
    wait_for(lambda: shown <= rights_of(kubeconfig, namespace), what="the roles are noticed")
    assert rights_of(kubeconfig, namespace) == shown


def test_operator_of_a_team_reads_the_labels_of_its_namespace_to_propagate_them(
    installed: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    release = installed(narrow=True, propagateLabels=["team"])
    kubeconfig = release.kubeconfig(tmp_path)
    shown = (read_rights(BLOCKS[OPERATOR]) | {"get namespaces"}) - {"get nodes"}
    wait_for(lambda: shown <= rights_of(kubeconfig, namespace), what="the roles are noticed")
    with Api(kubeconfig) as operator:
        found = operator.get("v1/Namespace", namespace)
        assert found is not None
        assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == namespace
        with pytest.raises(Refused, match="403"):
            operator.get("v1/Namespace", "default")


def test_driver_may_do_what_the_page_shows(
    api: Api, kubeconfig: Path, installed: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    release = installed(narrow=True)
    api.create(claim("shared"), namespace=namespace)
    api.create(small_job("support"), namespace=namespace)
    with release.replica(tmp_path), playing(kubeconfig, namespace=namespace, scale=5):
        account = wait_for(lambda: _account(api, namespace), what="it has an account", seconds=120)
        driver = account_kubeconfig(api, account, namespace=namespace, file=tmp_path / "driver")
        printed = wait_for(lambda: _with_channel(driver, namespace), what="its role is noticed", seconds=60)
    assert {right.replace(_channel(printed), "support-prepare-abcde-out") for right in printed} == read_rights(
        BLOCKS[DRIVER]
    )
    if has_kubectl():
        assert lines(print_rights(driver, namespace=namespace)) == lines(BLOCKS[DRIVER])


USERS = {
    "view": "get list watch",
    "edit": "get list watch create update patch delete deletecollection",
    "admin": "get list watch create update patch delete deletecollection",
}


@pytest.mark.parametrize("role", USERS)
def test_users_may_do_with_jobs_what_their_role_in_the_namespace_says(
    role: str, api: Api, installed: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    installed(narrow=True)
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "jane"}}, namespace=namespace)
    subject = {"kind": "ServiceAccount", "name": "jane", "namespace": namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
    api.create(binding, namespace=namespace)
    kubeconfig = account_kubeconfig(api, "jane", namespace=namespace, file=tmp_path / "jane")
    jobs = "distillationjobs.kubedistill.io"
    shown = {f"{verb} {jobs}" for verb in USERS[role].split()}
    shown |= {f"{verb} {jobs}/status" for verb in ("get", "list", "watch")}

    def found() -> set[str]:
        return {right for right in rights_of(kubeconfig, namespace) if "kubedistill" in right}

    # The cluster's controller puts the roles together some moments later.
    wait_for(lambda: shown <= found(), what="the role has been added to", seconds=60)
    assert found() == shown


def _account(api: Api, namespace: str) -> str:
    """Return the name of the account that was made for a job; empty while there is none."""
    names = [one["metadata"]["name"] for one in api.list("v1/ServiceAccount", namespace=namespace)]
    return next((name for name in names if name.startswith("support-driver-")), "")


def _with_channel(kubeconfig: Path, namespace: str) -> set[str]:
    """Return the rights of an account, once there is a channel among them."""
    found = rights_of(kubeconfig, namespace)
    return found if any(right.startswith("patch configmaps ") for right in found) else set()


def _channel(found: set[str]) -> str:
    (patch,) = [right for right in found if right.startswith("patch configmaps ")]
    return patch.rpartition(" ")[2]
