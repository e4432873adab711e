"""Alerts fire when they should and only then, say what is wrong, and have a runbook."""

import re
from pathlib import Path

import pytest
import yaml

from kubedistill_operator.decisions import diagnosis
from support.chart_sets import Render, only
from support.monitoring import RULES, read_alerts
from support.prometheus import promtool

ROOT = Path(__file__).parents[2]
ALERTS = read_alerts()
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
UNIT_TESTS = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
every_alert = pytest.mark.parametrize("name", ALERTS)


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", *RULES)


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


@every_alert
def test_an_alert_is_tested_both_ways(name: str) -> None:
    cases = [
        case
        for file in UNIT_TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


@every_alert
def test_an_alert_says_what_is_wrong_and_how_bad_it_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description"}
    assert all(text.endswith(".") for text in alert["annotations"].values())
    assert alert["for"], "one bad scrape is not an alert"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == sorted(ALERTS)


def test_the_runbook_of_jobs_that_wait_names_every_reason_to() -> None:
    runbook = RUNBOOKS.partition("## DistillationJobWaitsForPods\n")[2].partition("\n## ")[0]
    reasons = {*diagnosis.REASONS, "WriteRefused", "NameTaken"}
    assert {reason for reason in reasons if not re.search(rf"\b{reason}\b", runbook)} == set()


def test_every_link_of_the_runbooks_leads_somewhere() -> None:
    for page, heading in re.findall(r"\]\((\w+\.md)(?:#(\w+))?\)", RUNBOOKS):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert not heading or heading in [one.lower() for one in re.findall(r"^## (.+)$", text, re.MULTILINE)]


def test_the_chart_installs_all_alerts_with_the_address_of_their_runbooks(render: Render) -> None:
    rule = {"enabled": True, "runbooks": "https://wiki.example.com/kubedistill", "labels": {"release": "kps"}}
    found = only(render(metrics__prometheusRule=rule), "PrometheusRule")
    shown = {one["alert"]: one for group in found["spec"]["groups"] for one in group["rules"]}
    assert shown.keys() == ALERTS.keys()
    for name, alert in shown.items():
        assert alert["annotations"].pop("runbook_url") == f"https://wiki.example.com/kubedistill#{name.lower()}"
        assert alert == ALERTS[name]
    assert found["metadata"]["labels"]["release"] == "kps"
