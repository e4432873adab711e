"""What the player's KubeRay makes of a RayJob's templates on a real node, against what KubeRay 1.7 makes of them."""

from typing import Any

import pytest

from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.plan import Manifest
from support.child_scenarios import request_of
from support.fake_kuberay.child import HEAD, WORKER, Child, Cluster
from support.fake_kuberay.pods import cluster_pod, slots_of
from support.fake_kuberay.ray_start import head_service, token_secret, with_ray

ADDRESS = "quick-head-svc.demo.svc.cluster.local"


@pytest.fixture(scope="module")
def child() -> Child:
    (rayjob,) = [one for one in build_children(request_of("generate-quickstart-on-cpu")) if one["kind"] == "RayJob"]
    return Child("RayJob", ("demo", "quick"), "uid", rayjob, cluster=Cluster("quick"))


@pytest.fixture(scope="module")
def pods(child: Child) -> dict[str, Manifest]:
    slots = slots_of(child.spec["rayClusterSpec"])
    return {slot.role: with_ray(cluster_pod(child, slot), slot, cluster="quick", namespace="demo") for slot in slots}


def container(pod: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def variables(values: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["name"]: one.get("value") or one["valueFrom"] for one in values}


def test_the_command_has_the_templates_parameters_and_the_containers_memory(pods: dict[str, Manifest]) -> None:
    shared = "--dashboard-agent-listen-port=52365"
    (head,), (worker,) = container(pods[HEAD])["args"], container(pods[WORKER])["args"]
    assert head.startswith("ulimit -n 65536; ray start --head --block ")
    assert {"--num-cpus=0", "--num-gpus=0", "--dashboard-host=0.0.0.0", "--memory=8589934592", shared} <= {
        *head.split()
    }
    assert worker.startswith("ulimit -n 65536; ray start --block ")
    assert {"--num-cpus=2", f"--address={ADDRESS}:6379", "--metrics-export-port=8080", shared} <= {*worker.split()}


def test_a_worker_waits_for_the_head_as_the_worker_itself(pods: dict[str, Manifest]) -> None:
    (wait,) = pods[WORKER]["spec"]["initContainers"]
    assert f"ray health-check --address {ADDRESS}:6379" in wait["args"][0]
    assert wait["securityContext"] == container(pods[WORKER])["securityContext"]
    assert "initContainers" not in pods[HEAD]["spec"]


def test_pods_reach_ray_with_the_clusters_token(child: Child, pods: dict[str, Manifest]) -> None:
    secret = token_secret(child, cluster="quick")
    for pod, address in ((pods[HEAD], "127.0.0.1"), (pods[WORKER], ADDRESS)):
        found = variables(container(pod)["env"])
        assert found["RAY_ADDRESS"] == f"{address}:6379"
        assert found["RAY_AUTH_MODE"] == "token"
        source = found["RAY_AUTH_TOKEN"]["secretKeyRef"]
        assert source["name"] == secret["metadata"]["name"]
        assert source["key"] in secret["stringData"]


def test_each_cluster_has_a_token_of_its_own(child: Child) -> None:
    first, second = (token_secret(child, cluster="quick")["stringData"] for _ in range(2))
    assert first != second


def test_the_head_is_found_by_name_before_it_is_ready(child: Child, pods: dict[str, Manifest]) -> None:
    service = head_service(child, cluster="quick")
    assert ADDRESS.startswith(f"{service['metadata']['name']}.")
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= pods[HEAD]["metadata"]["labels"].items()
    assert not service["spec"]["selector"].items() <= pods[WORKER]["metadata"]["labels"].items()


def test_nothing_of_the_template_is_lost(child: Child, pods: dict[str, Manifest]) -> None:
    for slot in slots_of(child.spec["rayClusterSpec"]):
        template, made = slot.template["spec"], pods[slot.role]["spec"]
        assert {name: made[name] for name in template if name != "containers"} == {
            name: value for name, value in template.items() if name != "containers"
        }
        assert (
            container({"spec": template}).items()
            <= {
                **container({"spec": made}),
                "env": container({"spec": template})["env"],
            }.items()
        )
        assert (
            container({"spec": made})["env"][: len(container({"spec": template})["env"])]
            == (container({"spec": template})["env"])
        )
