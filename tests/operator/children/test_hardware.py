"""What a driver is told about the hardware of each stage: the pods of the layout, and the GPUs of their pool."""

from typing import Any

import pytest

from kubedistill.contract import Hardware
from kubedistill.contract.hardware import CPU
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.hardware import find_hardware
from support.child_scenarios import SETTINGS, example_spec

GIB = 2**30
RESOURCES = Resources(cpu="2", memory="8Gi", ephemeral_storage="20Gi")


def hardware(example: str, **changes: Any) -> dict[str, Hardware]:
    spec = example_spec(example, changes)
    return dict(find_hardware(spec, namespace="team-a", pools=SETTINGS.pools, resources=RESOURCES))


def test_a_teacher_of_two_nodes_is_told_its_gpus_and_their_memory() -> None:
    found = hardware("llama-405b-to-3b")
    assert found["Generate"] == Hardware(
        accelerator="NVIDIA-H100-80GB-HBM3",
        gpus_per_pod=8,
        pods=2,
        memory_per_gpu=80 * GIB,
        host_memory=1024 * GIB,
        scratch=2048 * GIB,
    )
    assert found["Generate"].gpus == 16
    assert (found["Train"].pods, found["Train"].gpus_per_pod) == (8, 1)
    assert (found["Evaluate"].pods, found["Evaluate"].gpus_per_pod) == (1, 1)


def test_each_stage_has_the_gpus_of_its_own_pool() -> None:
    found = hardware("deepseek-v3-to-phi-4-mini", stages={"evaluate": {"pool": "a100"}})
    assert {stage: one.accelerator for stage, one in found.items()} == {
        "Generate": "NVIDIA-H200", "Train": "NVIDIA-H200", "Evaluate": "NVIDIA-A100-SXM4-80GB"
    }  # fmt: skip
    assert found["Generate"].memory_per_gpu == 141 * GIB


def test_without_gpus_it_is_the_memory_of_the_pod_that_holds_the_model() -> None:
    found = hardware("quickstart")
    assert set(found.values()) == {Hardware(host_memory=8 * GIB, scratch=20 * GIB)}
    on_pool = hardware(
        "quickstart", student={"model": {"source": "student"}, "resources": {"pool": "cpu", "workers": 4}}
    )
    assert on_pool["Train"] == Hardware(pods=4, host_memory=48 * GIB)


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        ({"accelerator": "NVIDIA L4"}, "NVIDIA L4"),
        ({"node_selector": {"nvidia.com/gpu.product": "NVIDIA-L4"}}, "NVIDIA-L4"),
        ({}, "small"),
    ],
)
def test_gpus_are_named_by_the_setting_or_the_label_or_the_pool(pool: dict[str, Any], name: str) -> None:
    resources = {"pool": "small", "gpusPerWorker": 1}
    spec = example_spec("quickstart", {"student": {"model": {"source": "student"}, "resources": resources}})
    pools = {"small": Pool(**{"node_selector": {"a": "b"}, **pool})}
    found = find_hardware(spec, namespace="team-a", pools=pools, resources=RESOURCES)
    assert (found["Train"].accelerator, found["Generate"].accelerator) == (name, CPU)
