"""docs/observability.md says what is so: its table is the code's, its values render, its configuration is accepted."""

import json
import re
from pathlib import Path

import yaml

from kubedistill.logs import SUBJECT
from kubedistill_operator.telemetry.metrics import MOST_SERIES
from kubedistill_runtime.logs import _MAX_LINES
from support.chart_sets import Render, of_kind
from support.monitoring import DASHBOARDS, metrics_table
from support.prometheus import promtool
from support.stage_jobs import stage_job

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [text for language, text in BLOCKS if language == kind]


def test_the_table_of_metrics_is_the_codes() -> None:
    table = "\n".join(metrics_table())
    shown = PAGE.partition("| metric | kind | labels | what it says |\n|---|---|---|---|\n")[2].partition("\n\n")[0]
    assert shown == table, f"the table has to be:\n{table}"
    assert f"A job has {MOST_SERIES} series at most" in PAGE


def test_its_values_bring_what_it_says(render: Render) -> None:
    found = render(metrics=yaml.safe_load(blocks("yaml")[0])["metrics"])
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert of_kind(found, kind), kind
    (monitor,) = of_kind(found, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(blocks("yaml")[1], encoding="utf-8")
    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")
    assert yaml.safe_load(blocks("yaml")[1])["scrape_configs"][0]["honor_labels"] is True


def test_every_dashboard_is_named_with_its_address() -> None:
    for file in DASHBOARDS:
        page = json.loads(file.read_text(encoding="utf-8"))
        assert f"| {page['title']} | `/d/{page['uid']}` |" in PAGE


def test_its_log_lines_have_the_keys_that_lines_have() -> None:
    for line in blocks("json")[0].splitlines():
        assert list(json.loads(line))[:9] == ["at", "level", "logger", "message", *SUBJECT]


def test_logs_and_summaries_are_where_it_says() -> None:
    job = stage_job()
    folder = "runs/<namespace>.<name>/<run>/<stage>-<attempt>"
    values = {"namespace": job.job.namespace, "name": job.job.name, "run": job.run.id, "stage": "train", "attempt": "2"}
    for name, value in values.items():
        folder = folder.replace(f"<{name}>", value)
    assert folder == job.attempt_folder
    assert f"the last {_MAX_LINES:,} lines" in PAGE
