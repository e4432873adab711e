"""The chart installs every alert, and each has a runbook."""

import re
from pathlib import Path
from typing import Any

import yaml

from chart_sets import CHART, Render, only

ROOT = Path(__file__).parents[2]
RULES = sorted((CHART / "rules").glob("*.yaml"))
GROUPS: list[dict[str, Any]] = [
    group for file in RULES for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == sorted(ALERTS)


def test_the_chart_installs_all_alerts_with_the_address_of_their_runbooks(render: Render) -> None:
    rule = {"enabled": True, "runbooks": "https://wiki.example.com/kubedistill", "labels": {"release": "kps"}}
    found = only(render(metrics__prometheusRule=rule), "PrometheusRule")
    shown = {one["alert"]: one for group in found["spec"]["groups"] for one in group["rules"]}
    assert shown.keys() == ALERTS.keys()
    for name, alert in shown.items():
        assert alert["annotations"].pop("runbook_url") == f"https://wiki.example.com/kubedistill#{name.lower()}"
        assert alert == ALERTS[name]
    assert found["metadata"]["labels"]["release"] == "kps"
