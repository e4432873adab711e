"""Alerts name metrics that there are, say what is wrong, and have a runbook."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_sets import CHART, Render, only
from kubedistill.settings import DefaultStorage
from kubedistill_operator.telemetry.metrics import JobCollector, Metrics
from kubedistill_operator.telemetry.table import Table

ROOT = Path(__file__).parents[2]
GROUPS: list[dict[str, Any]] = [
    group
    for file in sorted((CHART / "rules").glob("*.yaml"))
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
every_alert = pytest.mark.parametrize("name", ALERTS)


def known_series() -> set[str]:
    """The names of all series that the operator can show."""
    metrics, table = Metrics(), Table(DefaultStorage())
    metrics.watch(table, depth=lambda: 0, leads=lambda: True)
    families = [*metrics.registry.collect(), *JobCollector(table).collect()]
    suffixes = ("", "_total", "_count", "_sum", "_bucket")
    return {f"{family.name}{suffix}" for family in families for suffix in suffixes}


@every_alert
def test_an_alert_asks_only_for_what_the_operator_shows(name: str) -> None:
    asked = set(
        re.findall(
            r"\b(?:distillation|controller_runtime|workqueue|rest_client|leader_election)_\w+", ALERTS[name]["expr"]
        )
    )
    assert asked
    assert asked <= known_series()


@every_alert
def test_an_alert_says_what_is_wrong_and_how_bad_it_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description"}
    assert alert["annotations"]["summary"].endswith(".")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE) == list(ALERTS)


def test_the_chart_installs_all_alerts_with_the_address_of_their_runbooks(render: Render) -> None:
    rule = {"enabled": True, "runbooks": "https://wiki.example.com/kubedistill", "labels": {"release": "kps"}}
    found = only(render(metrics__prometheusRule=rule), "PrometheusRule")
    shown = {one["alert"]: one for group in found["spec"]["groups"] for one in group["rules"]}
    assert shown.keys() == ALERTS.keys()
    for name, alert in shown.items():
        assert alert["annotations"].pop("runbook_url") == f"https://wiki.example.com/kubedistill#{name.lower()}"
        assert alert == ALERTS[name]
    assert found["metadata"]["labels"]["release"] == "kps"
