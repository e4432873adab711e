"""Values that are not there: those that came after a release was installed, and those that are set to null."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_values import Values
from kubedistill.manifest.settings import Settings
from kubedistill.manifest.settings_file import load_settings
from make_chart import table
from support.chart_sets import STORED, Manifest, chart_with_stored_values, of_kind, only, values_of
from support.helm import Helm, HelmFailed


def settings_of(manifests: list[Manifest], folder: Path) -> Settings:
    (data,) = [one["data"] for one in of_kind(manifests, "ConfigMap") if "settings.yaml" in one["data"]]
    (folder / "settings.yaml").write_text(data["settings.yaml"])
    return load_settings(folder / "settings.yaml")


def names(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in manifests}


def has(values: dict[str, Any], name: str) -> bool:
    node: Any = values
    for step in name.split("."):
        node = node.get(step) if isinstance(node, dict) else None
    return node is not None


def test_values_came_after_0_1() -> None:
    """Else the tests below would show nothing."""
    stored = yaml.safe_load(STORED.read_text())
    later = {name for name, default, _ in table(Values()) if default and not has(stored, name)}
    assert {"revisionHistoryLimit", "service.labels", "global.imageRegistry", "metrics.podMonitor.namespace"} <= later


@pytest.mark.parametrize("name", ["default", "monitoring", "umbrella", "least-privilege", "network-policies-of-jobs"])
def test_values_of_0_1_install_what_todays_do(name: str, helm: Helm, tmp_path: Path) -> None:
    """As `helm upgrade --reuse-values` has them: defaults of then, without what came later."""
    then = helm.template("team", chart=chart_with_stored_values(tmp_path), values=values_of(name))
    now = helm.template("team", values=values_of(name))
    assert names(then) == names(now)
    assert settings_of(then, tmp_path) == settings_of(now, tmp_path)
    assert nulls(then) == []
    before, after = (only(one, "Deployment")["spec"]["template"]["spec"]["containers"] for one in (then, now))
    assert before == after


def test_emptied_values_leave_nothing_of_themselves(helm: Helm, tmp_path: Path) -> None:
    found = helm.template(values=values_of("emptied"))
    assert nulls(found) == []
    spec = only(found, "Deployment")["spec"]
    assert not {"strategy", "revisionHistoryLimit"} & spec.keys()
    assert (
        not {"nodeSelector", "topologySpreadConstraints", "terminationGracePeriodSeconds"}
        & spec["template"]["spec"].keys()
    )
    (container,) = spec["template"]["spec"]["containers"]
    assert container["readinessProbe"] == {
        "httpGet": {"path": "/readyz", "port": "http"},
        "periodSeconds": 10,
        "failureThreshold": 3,
    }
    assert "interval" not in only(found, "ServiceMonitor")["spec"]["endpoints"][0]
    assert settings_of(found, tmp_path) == Settings()


@pytest.mark.parametrize(
    "path", ["logLevel", "image.repository", "podDisruptionBudget.maxUnavailable", "metrics.prometheusRule.runbooks"]
)
def test_values_without_which_nothing_would_run_cannot_be_emptied(path: str, helm: Helm) -> None:
    *sections, last = path.split(".")
    values: dict[str, Any] = {last: None}
    for section in reversed(sections):
        values = {section: values}
    with pytest.raises(HelmFailed) as caught:
        helm.template(values=values)
    assert f"missing property '{last}'" in str(caught.value)


def nulls(node: Any, at: str = "") -> list[str]:
    """Return where manifests hold a null, or what templates print instead of one."""
    if isinstance(node, dict):
        return [found for name, value in node.items() for found in nulls(value, f"{at}.{name}")]
    if isinstance(node, list):
        return [found for index, value in enumerate(node) for found in nulls(value, f"{at}[{index}]")]
    return [at] if node is None or re.search(r"<nil>|<no value>|%!", str(node)) else []
