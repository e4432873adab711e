"""The chart as a part of others: with KubeRay, whose own is played by a chart of one object, and on a condition."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart_sets import CHART, Manifest, of_kind, only, umbrella_chart
from support.helm import Helm, HelmFailed

UMBRELLA = CHART.with_name("kubedistill-with-kuberay")
KUBERAY = "kuberay-operator"
OBJECT = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {watched: {{ .Values.watchNamespace | quote }}}\n"
)


@pytest.fixture
def umbrella(tmp_path: Path) -> Path:
    """Return the chart with its dependencies, as `helm dependency build` leaves it."""
    place = tmp_path / UMBRELLA.name
    shutil.copytree(UMBRELLA, place, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    shutil.copytree(CHART, place / "charts" / CHART.name)
    theirs = place / "charts" / KUBERAY
    (theirs / "templates").mkdir(parents=True)
    (theirs / "Chart.yaml").write_text(f"apiVersion: v2\nname: {KUBERAY}\nversion: {versions()[KUBERAY]}\n")
    (theirs / "values.yaml").write_text('watchNamespace: ""\n')
    (theirs / "templates" / "one.yaml").write_text(OBJECT)
    return place


def versions() -> dict[str, str]:
    dependencies = yaml.safe_load((UMBRELLA / "Chart.yaml").read_text())["dependencies"]
    return {one["name"]: one["version"] for one in dependencies}


def theirs(manifests: list[Manifest]) -> list[Any]:
    return [one["data"] for one in of_kind(manifests, "ConfigMap") if one["metadata"]["name"] == "theirs"]


def test_both_are_installed_unless_it_is_said_otherwise(umbrella: Path, helm: Helm) -> None:
    both = helm.template("distill", chart=umbrella, values={KUBERAY: {"watchNamespace": "a"}})
    ours = helm.template("distill", chart=umbrella, values={KUBERAY: {"enabled": False}})
    assert theirs(both) == [{"watched": "a"}]
    assert theirs(ours) == []
    assert len(both) == len(ours) + 1
    assert len(ours) == len(helm.template("distill"))


def test_values_of_ours_are_as_strict_as_without_it(umbrella: Path, helm: Helm) -> None:
    found = helm.template("distill", chart=umbrella, values={"kubedistill": {"replicas": 2}, "global": {"a": 1}})
    assert of_kind(found, "Deployment")[0]["spec"]["replicas"] == 2
    with pytest.raises(HelmFailed, match="additional properties 'replicaCount' not allowed"):
        helm.template("distill", chart=umbrella, values={"kubedistill": {"replicaCount": 2}})


def test_ours_is_asked_for_in_the_version_that_is_here() -> None:
    assert versions()["kubedistill"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


@pytest.mark.parametrize(
    ("values", "installed"),
    [({}, True), ({"kubedistill": {"enabled": True}}, True), ({"kubedistill": {"enabled": False}}, False)],
)
def test_condition_of_an_umbrella_decides(values: dict[str, Any], installed: bool, tmp_path: Path, helm: Helm) -> None:
    found = helm.template("distill", chart=umbrella_chart(tmp_path), values=values)
    assert found == (helm.template("distill") if installed else [])


def test_without_an_umbrella_enabled_decides_nothing(helm: Helm) -> None:
    assert helm.template(values={"enabled": False}) == helm.template()


def test_a_dependency_under_another_name_is_called_so(tmp_path: Path, helm: Helm) -> None:
    chart = umbrella_chart(tmp_path, alias="gpu")
    found = helm.template("distill", chart=chart, values={"gpu": {"enabled": True, "replicas": 2}})
    assert only(found, "Deployment")["metadata"]["name"] == "distill-gpu-operator"
    assert only(found, "Deployment")["spec"]["replicas"] == 2
