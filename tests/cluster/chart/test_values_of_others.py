"""What users hand to charts besides a values file: conditions, stored values and strategies, on a real API server."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.chart_release import Release
from support.chart_sets import CHART, chart_with_stored_values, umbrella_chart

DEPLOYMENTS = "apps/v1/Deployment"
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


@pytest.fixture
def release(new_release: Callable[..., Release]) -> Release:
    return new_release()


def test_strategy_can_be_changed_and_changed_back(release: Release) -> None:
    release.install({}, strategy={"type": "Recreate"})
    assert release.deployment()["spec"]["strategy"] == {"type": "Recreate"}
    release.upgrade({})
    assert release.deployment()["spec"]["strategy"] == ROLLING
    release.upgrade({}, strategy={"type": "Recreate"}, revisionHistoryLimit=0)
    assert release.deployment()["spec"]["strategy"] == {"type": "Recreate"}
    assert release.deployment()["spec"]["revisionHistoryLimit"] == 0


def test_condition_of_an_umbrella_installs_and_removes(release: Release, tmp_path: Path) -> None:
    chart = str(umbrella_chart(tmp_path))

    def put(verb: str, *, enabled: bool) -> list[str]:
        values = {"kubedistill": {"enabled": enabled, "crds": {"install": False}}}
        release.helm.run(verb, release.name, chart, "--namespace", release.namespace, values=values)
        found = release.api.list(DEPLOYMENTS, namespace=release.namespace)
        return [one["metadata"]["name"] for one in found]

    assert put("install", enabled=False) == []
    assert put("upgrade", enabled=True) == [release.operator]
    assert put("upgrade", enabled=False) == []


@pytest.mark.parametrize("option", ["--reuse-values", "--reset-then-reuse-values"])
def test_a_release_with_values_of_0_1_is_upgraded(release: Release, option: str, tmp_path: Path) -> None:
    stored = replace(release, chart=chart_with_stored_values(tmp_path))
    stored.install({"resyncSeconds": 120}, strategy=ROLLING, podLabels={"team": "ml"})
    assert "nodeSelector" not in stored.deployment()["spec"]["template"]["spec"]
    release.helm.run("upgrade", release.name, str(CHART), "--namespace", release.namespace, option)
    template = release.deployment()["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "ml"
    assert ("nodeSelector" in template["spec"]) is (option == "--reset-then-reuse-values")
    settings = release.api.get("v1/ConfigMap", release.operator, namespace=release.namespace)
    assert settings
    assert "resyncSeconds: 120" in settings["data"]["settings.yaml"]
    release.helm.run("rollback", release.name, "1", "--namespace", release.namespace)
    assert "nodeSelector" not in release.deployment()["spec"]["template"]["spec"]


def test_a_dry_run_on_the_server_installs_nothing(release: Release) -> None:
    said = release.install({}, "--dry-run=server")
    assert f"name: {release.operator}" in said
    assert release.api.get(DEPLOYMENTS, release.operator, namespace=release.namespace) is None
