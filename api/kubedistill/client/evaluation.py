"""Evaluation of the models of a job, from its report if that can be read, otherwise from the status of the job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from kubedistill.client import operations
from kubedistill.client.html import table_html, text_html
from kubedistill.client.job import Job
from kubedistill.client.request import Operation
from kubedistill.client.storage import StoredReport, check_readable, find_report
from kubedistill.errors import InvalidInput, NotAvailable
from kubedistill.printing import printable_line
from kubedistill.report.models import Arm, ArmName, Report
from kubedistill.report.table import HEADS, headline, percent_text, table_lines
from kubedistill.v1alpha1 import Result

_FIGURES: dict[str, Callable[[Arm], float | None]] = {
    "accuracy": lambda arm: arm.accuracy,
    "agreement": lambda arm: arm.agreement,
    "invalid_rate": lambda arm: arm.invalid_rate,
    "bleu_score": lambda arm: arm.metrics.get("bleu"),
    "inference_time": lambda arm: arm.latency_seconds,
    "throughput_per_hour": lambda arm: arm.throughput_per_hour,
    "memory_bytes": lambda arm: arm.memory_bytes,
    "parameters": lambda arm: arm.parameters,
    "cost_per_thousand": lambda arm: arm.cost_per_thousand,
}
"""Metrics of a model, by the names that managed services use; in seconds, bytes, US dollars, or fractions 0 to 1."""
METRICS = ("accuracy", "bleu_score", "inference_time")
Source = Literal["report", "status"]


@dataclass(frozen=True, slots=True)
class Evaluation(Mapping[str, float | None]):
    """Metrics of one model by name; a metric that is not known is None."""

    model: str
    figures: Mapping[str, float | None]
    source: Source

    def __getitem__(self, name: str) -> float | None:
        return self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the test records, 0 to 1; None without references."""
        return self.figures.get("accuracy")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The distilled student next to its teacher and the student before training; fractions are 0 to 1."""

    result: Result
    report: Report | None
    page: str
    """The path or URI of report.html."""

    @property
    def improvement(self) -> float | None:
        """Accuracy of the distilled student minus accuracy of the student before training."""
        return self.result.gain

    def __str__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        table = table_html(HEADS, rows_of(self))
        summary = f"<p>{text_html(headline(self.report))}.</p>" if self.report is not None else ""
        return f"<div>{table}{summary}<p>Report: <code>{text_html(self.page)}</code></p></div>"


def rows_of(comparison: Comparison) -> list[tuple[str, str, str, str, str]]:
    """Return the rows of a comparison: name, teacher, before, distilled, against the teacher."""
    if comparison.report is not None:
        return [
            (one.name, one.teacher, one.baseline, one.distilled, one.change) for one in table_lines(comparison.report)
        ]
    found = comparison.result
    cells = [percent_text(one) for one in (found.teacher_accuracy, found.baseline_accuracy, found.distilled_accuracy)]
    retention = "" if found.retention is None else f"{found.retention:.0%} kept"
    return [("accuracy", cells[0], cells[1], cells[2], retention)]


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison as plain text."""
    rows = [HEADS, *rows_of(comparison)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    summary = [] if comparison.report is None else ["", f"{headline(comparison.report)}."]
    return "\n".join([printable_line(line.rstrip()) for line in [*lines, *summary]])


def evaluate(
    model: str, *, metrics: Sequence[str], test_data: str | Path | None, namespace: str, store: Path | None
) -> Operation[Evaluation]:
    """Return metrics of the distilled student of a job, or of JOB/teacher or JOB/baseline, on the job's test records.

    Raises InvalidInput for other test records or an unknown metric, and NotAvailable if a metric can't be read from
    this machine.
    """
    name, _, arm = model.partition("/")
    arm = arm or "distilled"
    if arm not in get_args(ArmName):
        fix = f"Write {name}, {name}/baseline or {name}/teacher"
        raise InvalidInput(f'there is no model "{arm}" in a job', at="model_name", fix=fix)
    job = yield from operations.get(name, namespace=namespace)
    _check_test_data(job, test_data)
    found = yield from find_report(job, store=store)
    if found.report is None and set(metrics) == {"accuracy"} and job.status.result is not None:
        figure = getattr(job.status.result, f"{arm}_accuracy")
        return Evaluation(model, {"accuracy": figure}, "status")
    evaluated: Arm = getattr(check_readable(found, job).arms, arm)
    return Evaluation(model, {metric: _figure(evaluated, metric) for metric in metrics}, "report")


def compare(name: str, *, namespace: str, store: Path | None) -> Operation[Comparison]:
    """Compare the three models of a job; raises NotAvailable if they have not been evaluated."""
    job = yield from operations.get(name, namespace=namespace)
    return comparison_of(job, (yield from find_report(job, store=store)))


def comparison_of(job: Job, found: StoredReport) -> Comparison:
    """Return the comparison that a report contains, or without one the result of the job."""
    if found.report is not None:
        return Comparison(result_of(found.report), found.report, found.page)
    if job.status.result is None:
        problem = f"the models have not been evaluated yet; the job is {job.phase}"
        raise NotAvailable(problem, at=f"{job.namespace}/{job.name}")
    return Comparison(job.status.result, None, found.page)


def result_of(report: Report) -> Result:
    """Return the most important figures of a report."""
    arms, compared = report.arms, report.comparison
    return Result(
        teacher_accuracy=arms.teacher.accuracy,
        baseline_accuracy=arms.baseline.accuracy,
        distilled_accuracy=arms.distilled.accuracy,
        retention=compared.retention,
        gain=compared.gain,
        gap_closed=compared.gap_closed,
        gate_passed=report.gate.passed,
    )


def _figure(arm: Arm, metric: str) -> float | None:
    """Return a metric of a model; raises InvalidInput for an unknown name."""
    if metric in _FIGURES:
        return _FIGURES[metric](arm)
    if metric in arm.metrics:
        return arm.metrics[metric]
    known = ", ".join(dict.fromkeys((*_FIGURES, *arm.metrics)))
    raise InvalidInput(f'there is no metric "{metric}"', at="metrics", fix=f"Choose one of {known}")


def _check_test_data(job: Job, requested: str | Path | None) -> None:
    """Raise InvalidInput if a job was not evaluated on the requested test data."""
    test = job.spec.data.test
    known = test.uri if test is not None else None
    if requested is None or (known is not None and PurePath(requested).name == PurePath(known).name):
        return
    used = known or ("records held out of its training data" if test is None else "a ConfigMap")
    fix = "Leave test_data out, or set spec.data.test and run the job again"
    raise InvalidInput(f"{job.name} was evaluated on {used}, not on {requested}", at="test_data", fix=fix)
