"""The pods of jobs under what platforms enforce: limits, quotas, the restricted standard, admission of each knob."""

import copy
import dataclasses
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill.manifest.settings import PodSecurityContext, Settings
from support.child_scenarios import EVERY_SETTING, SCENARIOS, SETTINGS, build_child, request_of
from support.fake_kuberay.background import playing
from support.fake_kuberay.child import Child, Cluster
from support.fake_kuberay.pods import cluster_pod, slots_of
from support.kube_api import Api, Manifest, Refused, wait_for
from support.operator_harness import OperatorHarness, open_harness
from support.pool_strings import AT_BOUNDARY, ROWS, worker

LIMIT_RANGE = {"limits": [{"type": "Container", "default": {"cpu": "500m"}}]}
QUOTA = {"hard": {"limits.cpu": "100"}}
SETTINGS_OF_PODS: dict[str, Settings] = {
    "the default settings": SETTINGS,
    "no user and no group": SETTINGS.model_copy(update={"pod_security_context": PodSecurityContext()}),
    "every setting": EVERY_SETTING,
}
NEEDED: tuple[Manifest, ...] = (
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
    {
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "batch"}, "value": 1,
        "description": "of tests",
    },
)  # fmt: skip
"""What pods of the scenarios name, and the API server looks up."""


def built_pods(name: str, settings: Settings) -> list[Manifest]:
    """Return the pods of a scenario as the Job controller and KubeRay make them, one a group, with the submitter's."""
    request = dataclasses.replace(request_of(name), settings=settings)
    child = copy.deepcopy(build_child(request))
    spec = child["spec"]
    if child["kind"] == "Job":
        return [plain_pod(spec["template"])]
    played = Child("RayJob", ("team-a", "a"), "uid", child | {"metadata": {"uid": "uid"}}, cluster=Cluster("a-x2"))
    pods = [plain_pod(cluster_pod(played, slot)) for slot in slots_of(spec["rayClusterSpec"])]
    return pods + ([plain_pod(spec["submitterPodTemplate"])] if "submitterPodTemplate" in spec else [])


def plain_pod(template: Manifest) -> Manifest:
    """Return a pod that belongs to nobody and to any namespace."""
    metadata = {"generateName": "one-", "labels": template["metadata"]["labels"]}
    spec = {**template["spec"], "serviceAccountName": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def restricted(api: Api) -> Iterator[str]:
    """Yield a namespace of the restricted standard, and what its pods name."""
    name = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=name), what="the namespace has its account")
    for manifest in NEEDED:
        api.apply(manifest)
    yield name
    for manifest in NEEDED:
        api.delete(f"{manifest['apiVersion']}/{manifest['kind']}", manifest["metadata"]["name"])
    api.delete("v1/Namespace", name)


@pytest.mark.parametrize("case", SETTINGS_OF_PODS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_restricted_standard_takes_every_pod(name: str, case: str, api: Api, restricted: str) -> None:
    for pod in built_pods(name, SETTINGS_OF_PODS[case]):
        taken = api.create(pod, namespace=restricted, dry_run=True, strict=True)
        assert taken["spec"]["securityContext"] == pod["spec"]["securityContext"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_server_takes_every_child_with_every_setting(name: str, api: Api, restricted: str) -> None:
    child = copy.deepcopy(build_child(dataclasses.replace(request_of(name), settings=EVERY_SETTING)))
    child["metadata"]["namespace"] = restricted
    del child["metadata"]["ownerReferences"]
    taken = api.create(child, namespace=restricted, dry_run=True, strict=True)
    assert taken["metadata"]["name"] == child["metadata"]["name"]


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    """Yield an operator that limits CPU, of a namespace with a default limit and of one with a quota on limits."""
    names = [f"test-{secrets.token_hex(4)}" for _ in range(2)]
    folder = tmp_path_factory.mktemp("operator")
    with open_harness(api, operator_kubeconfig, folder, *names, cpuLimits="AsRequested") as harness:
        enforce(api, "LimitRange", LIMIT_RANGE, namespace=names[0])
        enforce(api, "ResourceQuota", QUOTA, namespace=names[1])
        with playing(kubeconfig, namespace=names[0], scale=0.02), playing(kubeconfig, namespace=names[1], scale=0.02):
            yield harness


def enforce(api: Api, kind: str, spec: Manifest, *, namespace: str) -> None:
    """Create a LimitRange or a quota, and wait until pods without a limit of CPU are refused."""
    api.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": "team"}, "spec": spec}, namespace=namespace)
    (pod,) = built_pods("prepare-quickstart", SETTINGS)

    def refuses() -> bool:
        try:
            api.create(pod, namespace=namespace, dry_run=True)
        except Refused as error:
            return "must specify limits.cpu" in error.message or "cpu limit of 500m" in error.message
        return False

    wait_for(refuses, what=f"{kind} is in force", seconds=90)


@pytest.mark.parametrize("place", [0, 1], ids=["a LimitRange's default of 500m", "a quota on limits.cpu"])
def test_a_job_runs_where_cpu_limits_are_demanded(place: int, harness: OperatorHarness) -> None:
    namespace = harness.namespaces[place]
    harness.submit("ok-limits", namespace=namespace)
    harness.becomes("ok-limits", "Succeeded", namespace=namespace)
    for stage in harness.status("ok-limits", namespace=namespace)["stages"]:
        assert stage["attempt"] == 1, stage


@pytest.mark.usefixtures("restricted")  # for what pods name
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_has_the_limits_that_are_demanded(name: str, api: Api, harness: OperatorHarness) -> None:
    limited = SETTINGS.model_copy(update={"cpu_limits": "AsRequested"})
    for namespace in harness.namespaces:
        for pod in built_pods(name, limited):
            api.create(pod, namespace=namespace, dry_run=True, strict=True)


def test_kubernetes_and_the_settings_accept_the_same_strings_of_pools(api: Api, namespace: str) -> None:
    asked = {name: row for name, row in ROWS.items() if row.refused not in AT_BOUNDARY}
    assert len(asked) > 30
    taken = {name: is_taken(api, worker(row), namespace=namespace) for name, row in asked.items()}
    assert taken == {name: not row.refused for name, row in asked.items()}


def is_taken(api: Api, pod: Manifest, *, namespace: str) -> bool:
    try:
        api.create(pod, namespace=namespace, dry_run=True)
    except Refused as error:
        return "422" not in str(error)  # anything else says nothing about its strings
    return True
