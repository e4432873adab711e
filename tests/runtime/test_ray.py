"""What a Ray pod must have for KubeRay, besides what our own code imports."""

import importlib

import pytest


@pytest.mark.parametrize("module", ["ray.dashboard.optional_deps", "ray.dashboard.modules.job.job_head"])
def test_the_dashboard_that_kuberay_asks_can_start(module: str) -> None:
    assert importlib.import_module(module), "its agent says whether a pod is ready, its head how the driver is"
