"""Downloads from the hub: which volume they go to, in which pods, and that no job names another namespace's."""

from typing import Any

import pytest

from kubedistill_operator.children.attempt import build_children
from support.child_scenarios import request_of, templates

DEEPSEEK, CACHED, LLAMA = (
    f"generate-{name}"
    for name in ("deepseek-on-two-replicas", "deepseek-with-a-model-cache", "llama-405b-on-two-nodes")
)
HOMES: dict[str, tuple[str, dict[str, str]]] = {
    "the store, without a claim and a scratch": (
        DEEPSEEK,
        {"ray-head": "/kubedistill/storage/huggingface", "ray-worker": "/kubedistill/storage/huggingface"},
    ),
    "the claim of the job": (
        CACHED, {"ray-head": "/kubedistill/models/hub", "ray-worker": "/kubedistill/models/hub"},
    ),
    "the scratch of the pool, for its pods": (
        LLAMA, {"ray-head": "/kubedistill/storage/huggingface", "ray-worker": "/kubedistill/scratch/huggingface"},
    ),
    "nowhere, for a job without models of the hub": ("generate-quickstart-on-cpu", {}),
}  # fmt: skip


def pods(scenario: str) -> list[dict[str, Any]]:
    """Return the pods of a scenario's child."""
    children = [one for one in build_children(request_of(scenario)) if one["kind"] in ("Job", "RayJob")]
    return [template["spec"] for child in children for template in templates(child).values()]


@pytest.mark.parametrize("case", HOMES)
def test_downloads_go_to(case: str) -> None:
    scenario, wanted = HOMES[case]
    found = {
        container["name"]: variable["value"]
        for pod in pods(scenario)
        for container in pod["containers"]
        for variable in container.get("env", [])
        if variable["name"] == "HF_HOME"
    }
    assert found == wanted


@pytest.mark.parametrize("scenario", [DEEPSEEK, CACHED, LLAMA])
def test_a_folder_for_downloads_is_mounted_and_writable(scenario: str) -> None:
    for pod in pods(scenario):
        for container in pod["containers"]:
            home = next((one["value"] for one in container.get("env", []) if one["name"] == "HF_HOME"), None)
            mounts = [one for one in container.get("volumeMounts", []) if home and home.startswith(one["mountPath"])]
            assert [one.get("readOnly", False) for one in mounts] == ([False] if home else [])
            assert {one["name"] for one in mounts} <= {one["name"] for one in pod.get("volumes", [])}


def test_d8_a_model_cache_is_a_claim_of_the_job_s_own_namespace() -> None:
    claims = [one["persistentVolumeClaim"] for pod in pods(CACHED) for one in pod["volumes"] if one["name"] == "models"]
    assert claims == [{"claimName": "models"}] * 2, "a pod can mount only claims of its own namespace"


def test_a_scratch_is_a_volume_of_the_pod_alone() -> None:
    (worker,) = [pod for pod in pods(LLAMA) if any(one["name"] == "scratch" for one in pod["volumes"])]
    (volume,) = [one for one in worker["volumes"] if one["name"] == "scratch"]
    claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["accessModes"], claim["storageClassName"]) == (["ReadWriteOnce"], "local-nvme")
    assert claim["resources"] == {"requests": {"storage": "2Ti"}}
