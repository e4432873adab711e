"""report.md: the report for a terminal or a pull request."""

from collections.abc import Sequence

from kubedistill.printing import printable_line
from kubedistill.report.models import Report
from kubedistill.report.table import TEACHER_HEADS, headline, table_lines, teacher_rows
from kubedistill.report.usage import USAGE_HEADS, usage_notes, usage_rows
from kubedistill.report.words import (
    answers_text,
    control_text,
    diversity_text,
    fields_of,
    gate_details,
    gate_state,
    records_text,
    words_of,
)
from kubedistill_runtime.report.notes import cost_notes, teacher_notes, time_notes

_GATE = {"passed": "passed", "failed": "**failed**", "not set": "no gate set", "not checked": "no limit was checked"}


def render_markdown(report: Report, *, title: str) -> str:
    """Render the headline, the table, the gate and the provenance."""
    rows = [
        f"| {line.name} | {line.teacher} | {line.baseline} | {line.distilled} | {line.change} |"
        for line in table_lines(report)
    ]
    compared, data = report.comparison, report.data
    details = gate_details(report.gate)
    change = words_of(compared).markdown.format(**fields_of(compared))
    control = [] if report.latency_control is None else [control_text(report.latency_control)]
    lines = [
        f"# {title}",
        "",
        f"{headline(report)[:1].upper()}{headline(report)[1:]}.",
        "",
        "| | teacher | student before | student distilled | distilled against teacher |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *_table_of_teachers(report),
        f"- Gate: {_GATE[gate_state(report.gate)]}{': ' if details else ''}{details}",
        f"- {change}, {records_text(compared)}",
        f"- Data: {answers_text(data)}",
        *(f"- Diversity: {text}" for text in [diversity_text(data)] if text),
        f"- Objective: {report.training.objective} ({report.training.objective_reason})",
        f"- Hardware: {report.provenance.hardware}",
        *(f"- Control: {note}" for note in (*control, *time_notes(report))),
        *(f"- Teacher: {note}" for note in teacher_notes(report)),
        *(f"- Serving: {note}" for note in report.provenance.served_defaults),
        *(f"- Cost: {note}" for note in cost_notes(report)),
        "",
        *_table_of_usage(report),
    ]
    return "\n".join(map(printable_line, lines))


def _table_of_teachers(report: Report) -> list[str]:
    return _table(TEACHER_HEADS, teacher_rows(report))


def _table_of_usage(report: Report) -> list[str]:
    """Return the table of what each stage took, with the estimates in parentheses; empty if it is not known."""
    notes = [f"- Usage: {note}" for note in usage_notes(report.usage)]
    return [*_table(USAGE_HEADS, usage_rows(report.usage)), *notes, *([""] if notes else [])]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, and an empty one; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines, ""] if lines else []
