"""Variables, devices and caches of pods with GPUs: whose they are, and which pods get them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from kubedistill.manifest.problems import find_problem
from kubedistill.manifest.settings import Settings
from kubedistill_operator.children.attempt import build_children
from kubedistill_runtime.serving.vllm_engine import _ENVIRONMENT
from support.child_scenarios import EVERY_SETTING, SCENARIOS, request_of, templates
from support.messages import CheckMessage

POOL = EVERY_SETTING.pools["gpu"]
WITH_GPUS = "generate-with-every-setting"


def containers(scenario: str) -> dict[str, dict[str, Any]]:
    """Return the containers of a scenario's pods, by name."""
    return {
        one["name"]: one
        for child in build_children(request_of(scenario))
        if child["kind"] in ("Job", "RayJob")
        for template in templates(child).values()
        for one in template["spec"]["containers"]
    }


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", [])}


def refused(**pool: Any) -> tuple[str, str]:
    """Return the field and the words of the refusal of a pool's fields."""
    settings = {"pools": {"gpu": {"nodeSelector": {"a": "b"}, **pool}}}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate_json(json.dumps(settings), by_alias=True, by_name=False)
    found = find_problem(caught.value, model=Settings)
    return found.at.removesuffix(".[key]"), str(found)


def test_workers_have_the_variables_and_devices_of_their_pool() -> None:
    found = containers(WITH_GPUS)
    worker, head = found["ray-worker"], found["ray-head"]
    assert variables(worker)["NCCL_SOCKET_IFNAME"] == "eth1"
    assert {name: worker["resources"]["limits"][name] for name in POOL.resources} == {"rdma/hca": "1"}
    assert worker["resources"]["requests"]["rdma/hca"] == "1"
    assert not variables(head).keys() & POOL.env.keys()
    assert "rdma/hca" not in head["resources"]["limits"]
    assert worker["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_libraries_compile_is_in_one_volume_of_pods_with_gpus() -> None:
    found = containers(WITH_GPUS)
    (mount,) = [one["mountPath"] for one in found["ray-worker"]["volumeMounts"] if one["name"] == "caches"]
    caches = {name for name, value in variables(found["ray-worker"]).items() if value.startswith(mount)}
    assert {"VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"} <= caches
    assert not caches & variables(found["ray-head"]).keys()


def test_only_pods_with_gpus_see_gpus() -> None:
    for scenario in SCENARIOS:
        for container in containers(scenario).values():
            has_gpus = any(name.endswith("/gpu") for name in container["resources"]["limits"])
            assert variables(container).get("NVIDIA_VISIBLE_DEVICES") == (None if has_gpus else "void")


def test_no_pool_sets_a_variable_that_is_set_for_it(check_message: CheckMessage) -> None:
    ours = {
        name
        for scenario in SCENARIOS
        for container in containers(scenario).values()
        for name in variables(container)
        if name not in POOL.env
    }
    of_runtime = _ENVIRONMENT.keys() - {"VLLM_CPU_KVCACHE_SPACE"}  # it has no meaning on GPUs
    for name in sorted(ours | of_runtime | {"KUBEDISTILL_KEY_MAIN"}):
        assert refused(env={name: "x"})[0] == f"pools.gpu.env.{name}"
    check_message(refused(env={"RAY_ADDRESS": "x"})[1], "RAY_ADDRESS")


@pytest.mark.parametrize(
    ("pool", "field"),
    [
        ({"env": {"A-B": "x"}}, "pools.gpu.env.A-B"),
        ({"env": {"A": "$(HOME)"}}, "pools.gpu.env.A"),
        ({"env": {"A": "a\nb"}}, "pools.gpu.env.A"),
        ({"resources": {"hca": 1}}, "pools.gpu.resources.hca"),
        ({"resources": {"rdma/hca": 0}}, "pools.gpu.resources.rdma/hca"),
    ],
)
def test_other_forms_are_refused(pool: dict[str, Any], field: str) -> None:
    assert refused(**pool)[0] == field


def test_gpus_are_requested_once(check_message: CheckMessage) -> None:
    check_message(refused(resources={"nvidia.com/gpu": 8})[1], "nvidia.com/gpu")
