"""An operator that lacks a right to read in a namespace: row W17 of docs/behavior.md on a real API server."""

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from support.cluster_setup import ROOT, read_manifests
from support.fake_kuberay.background import playing
from support.kube_api import Api, Manifest, wait_for
from support.messages import check_facts
from support.operator_harness import OperatorHarness, make_namespace
from support.tenants import may

ACCOUNT = "limited"
SHOWN_SECONDS = 30
RBAC = "rbac.authorization.k8s.io"


def rules(*, without: str = "") -> list[Manifest]:
    """Return the rules of the operator's role, without those of one resource."""
    (role,) = read_manifests(ROOT / "deploy" / "rbac" / "operator.yaml")
    return [rule for rule in role["rules"] if without not in rule["resources"]]


class Rights:
    """The Role of an operator in one namespace."""

    def __init__(self, api: Api, operator: Api, namespace: str) -> None:
        self.api, self.operator, self.namespace = api, operator, namespace

    def grant(self, *, without: str = "", right: str) -> None:
        """Grant all rights, or all but those to one resource, and wait until the server has noticed `right`."""
        role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": ACCOUNT}}
        self.api.apply({**role, "rules": rules(without=without)}, namespace=self.namespace)
        verb, _, resource = right.partition(" ")
        wait_for(
            lambda: may(self.operator, (verb, resource), self.namespace) == (not without), what=f"{right} is noticed"
        )


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory, limited: Path
) -> Iterator[OperatorHarness]:
    """Yield an operator whose rights end at one namespace."""
    name = limited.stem
    found = OperatorHarness(api, (name,), limited, tmp_path_factory.mktemp("operator"), {"rbac": {"nodes": False}})
    try:
        found.start()
        with playing(kubeconfig, namespace=name, scale=0.02):
            yield found
        found.check()
    finally:
        found._runs.close()


@pytest.fixture(scope="module")
def limited(api: Api, account_kubeconfig: Callable[..., Path]) -> Iterator[Path]:
    """Yield the kubeconfig of an account that has all rights of the operator in one namespace, which names the file."""
    name = f"test-{secrets.token_hex(4)}"
    make_namespace(api, name)
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}, namespace=name)
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": ACCOUNT}, "rules": rules()}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}],
    }
    for manifest in (role, binding):
        api.create(manifest, namespace=name)
    file = account_kubeconfig(ACCOUNT, namespace=name)
    yield file.rename(file.with_name(f"{name}.yaml"))
    api.delete("v1/Namespace", name)


@pytest.fixture
def rights(api: Api, limited: Path) -> Iterator[Rights]:
    with Api(limited) as operator:
        yield Rights(api, operator, limited.stem)


MISSING = {"get persistentvolumeclaims": "persistentvolumeclaims", "list pods": "pods"}


@pytest.mark.parametrize("right", MISSING)
def test_w17_a_job_shows_the_missing_right_and_continues_when_it_is_granted(
    right: str, harness: OperatorHarness, rights: Rights
) -> None:
    resource = MISSING[right]
    rights.grant(without=resource, right=right)
    name = f"ok-{resource}"[:20]
    created = harness.submit(name)["metadata"]["creationTimestamp"]
    message = harness.shows(name, "Progressing", reason="ReadRefused")
    (since,) = [one["lastTransitionTime"] for one in harness.status(name)["conditions"] if one["type"] == "Progressing"]
    waited = datetime.fromisoformat(since) - datetime.fromisoformat(created)
    assert waited.total_seconds() < SHOWN_SECONDS
    check_facts(message, *right.split(), rights.namespace, "kubedistill-operator")
    assert harness.status(name)["message"] == f"ReadRefused: {message}"
    assert "Waiting" in harness.tells(name, "Waiting")
    rights.grant(right=right)
    harness.becomes(name, "Succeeded", seconds=400)
    condition = harness.condition(name, "Progressing")
    assert condition is not None
    assert condition[1] == "Complete"
