"""The dashboard generator: `make dashboards` writes charts/kubedistill/dashboards from the tables of dashboards.py."""

import json
import sys
from pathlib import Path
from typing import Any

from dashboards import DASHBOARDS, JOB, Dashboard, Panel, Variable

FOLDER = Path(__file__).parent / "kubedistill" / "dashboards"
_COLUMNS = 24

Json = dict[str, Any]


def files() -> dict[str, str]:
    """Return all dashboards by file name, in the form that Grafana imports."""
    return {f"{one.name}.json": json.dumps(_page(one), indent=2) + "\n" for one in DASHBOARDS}


def _page(dashboard: Dashboard) -> Json:
    return {
        "uid": f"kubedistill-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["kubedistill"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "graphTooltip": 1,
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "",
        "links": [
            {
                "type": "dashboards",
                "title": "kubedistill",
                "tags": ["kubedistill"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_DATASOURCE_VARIABLE, *(_variable(one) for one in dashboard.variables)]},
        "annotations": {"list": []},
        "panels": _panels(dashboard),
    }


_DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_DATASOURCE_VARIABLE: Json = {
    "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
}  # fmt: skip


def _variable(variable: Variable) -> Json:
    choices: Json = {"includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {
        "name": variable.name,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": variable.query,
        "refresh": 2,
        "sort": 1,
        **(choices if variable.several else {}),
    }


def _panels(dashboard: Dashboard) -> list[Json]:
    """Return the rows one below the other, with panels from left to right, wrapped at the last column."""
    found: list[Json] = []
    y = 0
    for title, panels in dashboard.rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        found.append(
            {"id": len(found) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        x, y, tallest = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return found


def _panel(panel: Panel) -> Json:
    table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": _DATASOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            **({"instant": True, "format": "table"} if table else {}),
            **({"instant": True} if panel.kind == "stat" else {}),
        }
        for place, query in enumerate(panel.queries)
    ]
    about = {"description": panel.text} if panel.text else {}
    defaults: Json = {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"stacking": {"mode": "normal"}, "fillOpacity": 60} if panel.stacked else {"fillOpacity": 0}
        defaults |= {"min": 0, "custom": {"lineWidth": 1, "showPoints": "never", **stacking}}
    return {
        "type": panel.kind,
        "title": panel.title,
        **about,
        "datasource": _DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": _job_columns() if table else []},
        **_options(panel),
    }


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        names = {"textMode": "name" if panel.names else "auto", "colorMode": "none" if panel.names else "value"}
        return {"options": {**names, "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}}
    if panel.kind == "table":
        return {"options": {"showHeader": True}, "transformations": _merged(panel)}
    return {
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    }


def _merged(panel: Panel) -> list[Json]:
    """Return the transformations to one line per job, joined by the labels that all queries share.

    A query whose legend is in lower case adds only labels.
    """
    columns = {f"Value #{chr(ord('A') + place)}": query.legend for place, query in enumerate(panel.queries)}
    hidden = {column: True for column, legend in columns.items() if legend.islower()}
    shown = {column: legend for column, legend in columns.items() if not legend.islower()}
    organized = {"excludeByName": {"Time": True, **hidden}, "renameByName": shown}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organized}]


def _job_columns() -> list[Json]:
    """Return overrides: the name of a job links to its dashboard, and its progress is a bar."""
    link = {
        "title": "Its dashboard",
        "url": f"/d/kubedistill-{JOB.name}?var-namespace=${{__data.fields.namespace}}&var-name=${{__data.fields.name}}",
    }
    bar = [
        {"id": "unit", "value": "percentunit"},
        {"id": "min", "value": 0},
        {"id": "max", "value": 1},
        {"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic"}},
    ]
    return [
        {"matcher": {"id": "byName", "options": "name"}, "properties": [{"id": "links", "value": [link]}]},
        {"matcher": {"id": "byName", "options": "Progress"}, "properties": bar},
        {"matcher": {"id": "byName", "options": "GPU-hours"}, "properties": [{"id": "decimals", "value": 1}]},
    ]


def main() -> None:
    """Write all dashboards, and remove files of former ones."""
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in made:
            stale.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
