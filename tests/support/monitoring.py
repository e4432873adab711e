"""What the chart brings to Prometheus and Grafana: rules, dashboards, and the metrics that they ask for."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from kubedistill.manifest.settings import DefaultStorage
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.telemetry.metrics import JOB_COUNTERS, JOB_GAUGES, JOB_PREFIX, Metrics

CHART = Path(__file__).parents[2] / "charts" / "kubedistill"
RULES = sorted((CHART / "rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
_VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*", "$name": ".*"}
_NO_METRICS = re.compile(
    r"""
    "[^"]*" | \{[^}]*\} | \[[^]]*\]                   # strings, matchers, ranges
    | \b(?:by|without|on|ignoring)\s*\([^)]*\)        # lists of labels
    | \b[a-z_0-9]+\s*\(                               # functions
    | \b(?:and|or|unless|sum|max|min|avg|count|bool)\b
    """,
    re.VERBOSE,
)


def read_alerts() -> dict[str, dict[str, Any]]:
    """Return all alerts by name."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def read_queries(dashboard: Path) -> dict[str, str]:
    """Return the queries of a dashboard, by panel and letter, with its variables as when all is chosen."""
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return {
        f"{panel['title']} {target['refId']}": _with_variables(target["expr"])
        for panel in panels
        for target in panel.get("targets", ())
    }


def read_choices(dashboard: Path) -> list[str]:
    """Return the metrics that a dashboard's variables take their values from."""
    variables = json.loads(dashboard.read_text(encoding="utf-8"))["templating"]["list"]
    return [one["query"].removeprefix("label_values(").partition("{")[0].partition(",")[0] for one in variables[1:]]


def metrics_in(expression: str) -> set[str]:
    """Return the names of all series that a PromQL expression asks for."""
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", _NO_METRICS.sub(" ", expression)))


def series_by_metric() -> dict[str, set[str]]:
    """Return the names of the series of every metric that the operator shows."""
    families = _shown().registry.collect()
    return {family.name: {f"{family.name}{suffix}" for suffix in _SUFFIXES[family.type]} for family in families}


def metrics_table() -> list[str]:
    """Return the rows of the table of metrics in docs/observability.md: name, kind, labels and meaning."""
    registry = _shown().registry
    labels = {f"{JOB_PREFIX}{name}": found for name, (_, found) in (JOB_GAUGES | JOB_COUNTERS).items()}
    own = [one for one in registry._collector_to_names if isinstance(one, MetricWrapperBase)]
    labels |= {one._name: one._labelnames for one in own}
    return [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {', '.join(labels[family.name])} | {family.documentation} |"
        for family in registry.collect()
    ]


def _shown() -> Metrics:
    metrics = Metrics()
    metrics.watch(JobCache(DefaultStorage()).metrics, depth=lambda: 0, leads=lambda: True)
    return metrics


def _with_variables(expression: str) -> str:
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression
