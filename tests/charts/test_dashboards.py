"""Dashboards and alerts ask for what the operator shows, and it shows nothing that nobody looks at."""

import json
import re
from pathlib import Path

import pytest

from make_dashboards import FOLDER, files
from support.monitoring import DASHBOARDS, metrics_in, read_alerts, read_choices, read_queries, series_by_metric

SERIES = series_by_metric()
ASKED = {
    **{f"alert {name}": alert["expr"] for name, alert in read_alerts().items()},
    **{f"{file.stem}: {panel}": query for file in DASHBOARDS for panel, query in read_queries(file).items()},
    **{f"{file.stem}: variables": " + ".join(read_choices(file) or ["1"]) for file in DASHBOARDS},
}
"""All expressions by where they stand."""
UNASKED = {"distillation_job_labels": "a platform's own queries of costs; docs/operations.md shows one"}
"""Metrics that nothing of ours asks for, and who does."""
every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def test_dashboards_are_as_their_tables_make_them() -> None:
    made = files()
    assert {file.name for file in FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, "run `make dashboards`"


@pytest.mark.parametrize("where", ASKED)
def test_nothing_is_asked_for_that_is_not_shown(where: str) -> None:
    assert metrics_in(ASKED[where]) <= set().union(*SERIES.values())


@pytest.mark.parametrize("metric", SERIES)
def test_every_metric_is_used_by_a_dashboard_or_an_alert(metric: str) -> None:
    asked = set().union(*(metrics_in(expression) for expression in ASKED.values()))
    assert bool(SERIES[metric] & asked) != (metric in UNASKED)


EXPRESSIONS = [
    ("up", {"up"}),
    ('sum by (phase) (a_total{namespace=~"$namespace"})', {"a_total"}),
    ("histogram_quantile(0.95, sum by (le, stage) (rate(b_bucket{}[5m])))", {"b_bucket"}),
    ("time() - max(c) > 1200 and on (namespace, name) d == 1", {"c", "d"}),
    ("absent(e == 1)", {"e"}),
    ("f / 3600", {"f"}),
]


@pytest.mark.parametrize(("expression", "names"), EXPRESSIONS)
def test_the_metrics_of_an_expression_are_found(expression: str, names: set[str]) -> None:
    assert metrics_in(expression) == names


@every_dashboard
def test_a_dashboard_is_laid_out_without_gaps_and_overlaps(file: Path) -> None:
    page = json.loads(file.read_text(encoding="utf-8"))
    taken: dict[tuple[int, int], str] = {}
    for panel in page["panels"]:
        place = panel["gridPos"]
        cells = [
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert not [taken[cell] for cell in cells if cell in taken], panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= dict.fromkeys(cells, panel["title"])
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])


@every_dashboard
def test_a_dashboard_takes_its_data_from_where_the_viewer_says(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    page = json.loads(text)
    assert page["uid"] == f"kubedistill-{file.stem}"
    assert set(re.findall(r'"uid": "(\$[^"]+)"', text)) == {"${datasource}"}
    declared = {one["name"] for one in page["templating"]["list"]} | {"__rate_interval", "__data", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", text)) <= declared


def test_every_panel_has_something_to_show() -> None:
    for file in DASHBOARDS:
        panels = [one for one in json.loads(file.read_text(encoding="utf-8"))["panels"] if one["type"] != "row"]
        assert all(one["targets"] and one["title"] for one in panels)


def test_a_job_of_the_table_leads_to_a_dashboard_that_there_is() -> None:
    uids = {json.loads(file.read_text(encoding="utf-8"))["uid"] for file in DASHBOARDS}
    links = set(re.findall(r"/d/([\w-]+)", (FOLDER / "jobs.json").read_text(encoding="utf-8")))
    assert links
    assert links <= uids
