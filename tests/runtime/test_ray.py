"""What a Ray pod must have for KubeRay, besides what our own code imports."""

import importlib


def test_the_dashboard_and_its_agent_can_start() -> None:
    needs = importlib.import_module("ray.dashboard.optional_deps")
    assert needs.aiohttp_cors, "by the agent KubeRay tells whether a pod is ready, by the dashboard how its driver is"
