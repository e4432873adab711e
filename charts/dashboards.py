"""The Grafana dashboards as tables: rows of panels, each with a title and queries."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["stat", "timeseries", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the name of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of a dashboard."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    """Width in columns; a dashboard has 24."""
    height: int = 8
    text: str = ""
    """Description that a reader needs to understand the panel."""
    stacked: bool = False
    names: bool = False
    """Whether a stat shows the name of its series instead of the value."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A selection above the panels, from the values of a label."""

    name: str
    query: str
    several: bool = True


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page; its name is also the name of its file and a part of its URL."""

    name: str
    title: str
    variables: tuple[Variable, ...]
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def _stat(title: str, expression: str, legend: str = "", *, unit: str = "short", **more: Any) -> Panel:
    return Panel(title, (Query(expression, legend),), unit, "stat", width=4, height=4, **more)


def _line(title: str, expression: str, legend: str, *, unit: str = "short", **more: Any) -> Panel:
    return Panel(title, (Query(expression, legend),), unit, **more)


def _quantiles(title: str, histogram: str, *, of: str, by: str = "", over: str = "$__rate_interval") -> Panel:
    """Return a panel with the median and the 95th percentile of a histogram of seconds."""
    labels, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    rate = f"sum by ({labels}) (rate({histogram}_bucket{{{of}}}[{over}]))"
    queries = tuple(Query(f"histogram_quantile({q}, {rate})", f"{name}{legend}") for q, name in _QUANTILES)
    return Panel(title, queries, "s")


_QUANTILES = ((0.5, "half"), (0.95, "95 %"))
_NS = 'namespace=~"$namespace"'
_JOB = 'namespace=~"$namespace",name=~"$name"'
_OURS, _QUEUE, _LEASE = 'controller="distillationjob"', 'name="distillationjob"', 'name="kubedistill-operator"'
_AT_WORK = "Preparing|Generating|Curating|Training|Evaluating|Exporting"
_P = "distillation_job"
_NAMESPACES = Variable("namespace", f"label_values({_P}_info, namespace)")

JOBS = Dashboard(
    "jobs",
    "Distillation jobs",
    (_NAMESPACES,),
    (
        (
            "Now",
            (
                _stat("Running", f'sum({_P}_status_phase{{{_NS},phase=~"{_AT_WORK}"}})'),
                _stat("Queued", f'sum({_P}_status_phase{{{_NS},phase="Queued"}})'),
                _stat(
                    "GPUs in use", f"sum(rate({_P}_gpu_seconds_total{{{_NS}}}[5m]))",
                    text="GPU-seconds a second, as drivers tell them.",
                ),
                _stat("GPU-hours of the jobs that are there", f"sum({_P}_gpu_seconds_total{{{_NS}}}) / 3600"),
                _stat(
                    "Succeeded in 7 days",
                    f'sum(increase(distillation_jobs_finished_total{{{_NS},result="Succeeded"}}[7d]))',
                ),
                _stat(
                    "Failed in 7 days", f'sum(increase(distillation_jobs_finished_total{{{_NS},result="Failed"}}[7d]))'
                ),
            ),
        ),
        (
            "Jobs",
            (
                Panel(
                    "Every job",
                    (
                        Query(f"max by (namespace, name, phase) ({_P}_status_phase{{{_NS}}} == 1)", "at"),
                        Query(f"max by (namespace, name, strategy, student) ({_P}_info{{{_NS}}})", "of"),
                        Query(f"max by (namespace, name) ({_P}_progress_ratio{{{_NS}}})", "Progress"),
                        Query(f"max by (namespace, name) ({_P}_gpu_seconds_total{{{_NS}}}) / 3600", "GPU-hours"),
                        Query(
                            f"max by (namespace, name) ({_P}_idle_gpu_seconds_total{{{_NS}}}) / 3600",
                            "Idle GPU-hours",
                        ),
                    ),
                    kind="table", width=24,
                ),
                _line(
                    "By phase", f"sum by (phase) ({_P}_status_phase{{{_NS}}})", "{{phase}}", width=12, stacked=True
                ),
                _line(
                    "Not where they should be, and why",
                    f"sum by (condition, reason) ({_P}_status_condition{{{_NS}}})", "{{condition}}: {{reason}}",
                    width=12, stacked=True,
                ),
            ),
        ),
        (
            "Over time",
            (
                _quantiles("Wait in a queue", f"{_P}_queue_wait_seconds", of=_NS, over="6h"),
                _quantiles("Duration of an attempt", f"{_P}_stage_duration_seconds", of=_NS, by="stage", over="6h"),
                _quantiles("Duration of a run", f"{_P}_duration_seconds", of=_NS, by="strategy", over="24h"),
                _line(
                    "Attempts lost in an hour", f"sum by (cause) (increase({_P}_restarts_total{{{_NS}}}[1h]))",
                    "{{cause}}", stacked=True,
                ),
                _line(
                    "Answers a second",
                    f"sum by (namespace, name) (rate({_P}_samples_generated_total{{{_NS}}}[$__rate_interval]))",
                    "{{namespace}}/{{name}}",
                ),
                _line(
                    "Tokens trained a second",
                    f"sum by (namespace, name) (rate({_P}_tokens_trained_total{{{_NS}}}[$__rate_interval]))",
                    "{{namespace}}/{{name}}",
                ),
            ),
        ),
    ),
)  # fmt: skip

JOB = Dashboard(
    "job",
    "Distillation job",
    (
        Variable("namespace", f"label_values({_P}_info, namespace)", several=False),
        Variable("name", f'label_values({_P}_info{{namespace="$namespace"}}, name)', several=False),
    ),
    (
        (
            "Now",
            (
                _stat("Phase", f"max by (phase) ({_P}_status_phase{{{_JOB}}} == 1)", "{{phase}}", names=True),
                _stat(
                    "Why it is there", f"max by (condition, reason) ({_P}_status_condition{{{_JOB}}})",
                    "{{condition}}: {{reason}}", names=True, text="Empty where all is as it should be.",
                ),
                _stat(
                    "Stage", f"max by (stage) ({_P}_stage_progress_ratio{{{_JOB}}})", "{{stage}}", unit="percentunit"
                ),
                _stat("GPUs in use", f"sum(rate({_P}_gpu_seconds_total{{{_JOB}}}[5m]))"),
                _stat("GPU-hours", f"max({_P}_gpu_seconds_total{{{_JOB}}}) / 3600"),
                _stat("Attempts lost", f"sum by (cause) (max by (cause) ({_P}_restarts_total{{{_JOB}}}))", "{{cause}}"),
            ),
        ),
        (
            "Run",
            (
                _line(
                    "Phase", f"max by (phase) ({_P}_status_phase{{{_JOB}}})", "{{phase}}", width=12, stacked=True
                ),
                _line(
                    "Done of the whole chain", f"max({_P}_progress_ratio{{{_JOB}}})", "done", unit="percentunit",
                    width=6, text="Every stage counts the same.",
                ),
                Panel(
                    "Times",
                    (
                        Query(f"max({_P}_created_timestamp_seconds{{{_JOB}}}) * 1000", "made"),
                        Query(f"max({_P}_start_timestamp_seconds{{{_JOB}}}) * 1000", "started"),
                        Query(f"max({_P}_completion_timestamp_seconds{{{_JOB}}}) * 1000", "ended"),
                    ),
                    "dateTimeAsIso", "stat", width=6,
                ),
            ),
        ),
        (
            "Current driver",
            (
                _line("Training loss", f"max by (stage) ({_P}_train_loss{{{_JOB}}})", "nats per token"),
                Panel(
                    "Tokens a second",
                    (
                        Query(
                            f"sum by (stage) (rate({_P}_tokens_generated_total{{{_JOB}}}[$__rate_interval]))",
                            "generated in {{stage}}",
                        ),
                        Query(f"sum(rate({_P}_tokens_trained_total{{{_JOB}}}[$__rate_interval]))", "trained on"),
                    ),
                ),
                Panel(
                    "Answers",
                    (
                        Query(f"max by (stage) ({_P}_samples_generated_total{{{_JOB}}})", "given in {{stage}}"),
                        Query(f"max({_P}_samples_kept_total{{{_JOB}}})", "kept"),
                    ),
                ),
                Panel(
                    "Time since",
                    (
                        Query(f"time() - max({_P}_last_progress_timestamp_seconds{{{_JOB}}})", "the last progress"),
                        Query(f"time() - max({_P}_checkpoint_timestamp_seconds{{{_JOB}}})", "the last checkpoint"),
                    ),
                    "s",
                ),
            ),
        ),
    ),
)  # fmt: skip

OPERATOR = Dashboard(
    "operator",
    "Distillation operator",
    (),
    (
        (
            "Now",
            (
                _stat("Leads", f"leader_election_master_status{{{_LEASE}}} == 1", "{{pod}}", names=True),
                _stat("Jobs", f"count(max by (namespace, name) ({_P}_info))"),
                _stat("Keys that wait", f"sum(workqueue_depth{{{_QUEUE}}})"),
                _stat("Active workers", f"sum(controller_runtime_active_workers{{{_OURS}}})"),
                _stat("Workers", f"max(controller_runtime_max_concurrent_reconciles{{{_OURS}}})"),
                _stat(
                    "Looks that failed",
                    f"sum(rate(controller_runtime_reconcile_errors_total{{{_OURS}}}[10m]))"
                    f" / sum(rate(controller_runtime_reconcile_total{{{_OURS}}}[10m]))",
                    unit="percentunit",
                ),
            ),
        ),
        (
            "Looks at jobs",
            (
                _line(
                    "Looks a second",
                    f"sum by (result) (rate(controller_runtime_reconcile_total{{{_OURS}}}[$__rate_interval]))",
                    "{{result}}", unit="reqps", stacked=True,
                ),
                _quantiles("Time of a look", "controller_runtime_reconcile_time_seconds", of=_OURS),
                _quantiles(
                    "Time that a key waits for a worker", "workqueue_queue_duration_seconds", of=_QUEUE
                ),
                _line(
                    "Keys that wait", f"sum by (pod) (workqueue_depth{{{_QUEUE}}})", "{{pod}}"
                ),
                _line(
                    "Looks that are tried again, a second",
                    f"sum(rate(workqueue_retries_total{{{_QUEUE}}}[$__rate_interval]))", "again", unit="reqps",
                ),
                _line(
                    "Leads", f"max by (pod) (leader_election_master_status{{{_LEASE}}})", "{{pod}}"
                ),
            ),
        ),
        (
            "Requests to the API server",
            (
                _line(
                    "By verb, a second", "sum by (method) (rate(rest_client_requests_total[$__rate_interval]))",
                    "{{method}}", unit="reqps", width=12, stacked=True,
                ),
                _line(
                    "Not answered with success, a second",
                    'sum by (code) (rate(rest_client_requests_total{code!~"2.."}[$__rate_interval]))', "{{code}}",
                    unit="reqps", width=12, text="404 and 409 are part of normal work.",
                ),
            ),
        ),
    ),
)  # fmt: skip

DASHBOARDS = (JOBS, JOB, OPERATOR)
