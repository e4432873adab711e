"""A real API server takes what every value set renders, field for field, and pod for pod."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.chart_sets import SETS, Manifest, only, pods, values_of
from support.cluster_setup import apply_crds, read_manifests
from support.helm import Helm
from support.kube_api import Api, Refused

STUBS = Path(__file__).parent / "monitoring_crds.yaml"


@pytest.fixture(scope="module", autouse=True)
def _monitoring(api: Api) -> None:
    """The Prometheus operator's kinds, unless the cluster has its own."""
    missing = [
        crd
        for crd in read_manifests(STUBS)
        if api.get("apiextensions.k8s.io/v1/CustomResourceDefinition", crd["metadata"]["name"]) is None
    ]
    apply_crds(api, missing)


@pytest.fixture
def spaces(new_namespace: Callable[[], str]) -> dict[str, str]:
    """Return the namespaces of a value set, and what they are called here; `somewhere` is the release's."""
    return {name: new_namespace() for name in ("somewhere", "team-a", "team-b", "monitoring")}


@pytest.fixture
def rendered(name: str, helm: Helm, spaces: dict[str, str]) -> list[Manifest]:
    values = json.dumps(values_of(name))
    for theirs, ours in spaces.items():
        values = values.replace(f'"{theirs}"', f'"{ours}"')
    return helm.template("team", namespace=spaces["somewhere"], values=json.loads(values))


def missing(manifest: Any, taken: Any, at: str = "") -> list[str]:
    """Return what of a manifest the server does not keep: GitOps tools would always show a difference."""
    if isinstance(manifest, dict) and isinstance(taken, dict):
        return [one for name, value in manifest.items() for one in missing(value, taken.get(name), f"{at}.{name}")]
    if isinstance(manifest, list) and isinstance(taken, list) and len(manifest) <= len(taken):
        # The server adds tolerations of its own to a pod's.
        return [one for pair in zip(manifest, taken, strict=False) for one in missing(*pair, f"{at}[]")]
    return [] if manifest == taken else [f"{at}: {manifest!r} is {taken!r}"]


@pytest.mark.parametrize("name", SETS)
def test_server_takes_every_object_without_a_field_left_over(
    rendered: list[Manifest], api: Api, spaces: dict[str, str]
) -> None:
    for manifest in rendered:
        if manifest["kind"] == "CustomResourceDefinition":  # which is there already
            taken = api.apply(manifest, dry_run=True)
        else:
            where = manifest["metadata"].get("namespace", spaces["somewhere"])
            taken = api.create(manifest, namespace=where, dry_run=True, strict=True)
        assert missing(manifest, taken) == []


@pytest.mark.parametrize("name", SETS)
def test_pods_may_run_where_only_the_restricted_standard_may(
    rendered: list[Manifest], api: Api, spaces: dict[str, str]
) -> None:
    for metadata, spec in pods(rendered):
        # The account is created, not in a dry run; the default one stands in for it.
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": metadata["labels"], "name": "one"},
            "spec": {**spec, "serviceAccountName": "default", "restartPolicy": "Never"},
        }
        api.create(pod, namespace=spaces["somewhere"], dry_run=True, strict=True)


def test_the_standard_is_in_force_here(api: Api, spaces: dict[str, str]) -> None:
    container: dict[str, Any] = {"name": "one", "image": "none"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [container]}}
    with pytest.raises(Refused, match="violates PodSecurity"):
        api.create(pod, namespace=spaces["somewhere"], dry_run=True)


def test_a_value_that_the_server_drops_would_be_seen(api: Api, helm: Helm, spaces: dict[str, str]) -> None:
    deployment = only(helm.template(namespace=spaces["somewhere"]), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["readinessProbe"]["initialDelaySeconds"] = 0
    (found,) = missing(deployment, api.create(deployment, dry_run=True, strict=True))
    assert found.endswith(".readinessProbe.initialDelaySeconds: 0 is None")


def test_a_misspelt_field_would_be_seen(api: Api, helm: Helm, spaces: dict[str, str]) -> None:
    values = {"affinity": {"nodeAfinity": {}}}
    for manifest in helm.template(namespace=spaces["somewhere"], values=values):
        if manifest["kind"] == "Deployment":
            with pytest.raises(Refused, match="nodeAfinity"):
                api.create(manifest, dry_run=True, strict=True)
