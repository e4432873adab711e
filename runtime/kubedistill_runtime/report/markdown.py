"""report.md: the report for a terminal or a pull request."""

from kubedistill.report import Report
from kubedistill.report_table import headline, table_lines


def render_markdown(report: Report, *, title: str) -> str:
    """The headline, the table, the gate and where it came from."""
    rows = [
        f"| {line.name} | {line.teacher} | {line.baseline} | {line.distilled} | {line.change} |"
        for line in table_lines(report)
    ]
    gate = "passed" if report.gate.passed else "**failed**: " + "; ".join(report.gate.reasons)
    low, high = report.comparison.ci95
    data = report.data
    return "\n".join(
        [
            f"# {title}",
            "",
            f"{headline(report)[:1].upper()}{headline(report)[1:]}.",
            "",
            "| | teacher | student before | student distilled | distilled against teacher |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"- Gate: {gate}",
            f"- Gain {100 * report.comparison.gain:+.1f} points, 95% interval {100 * low:+.1f} to {100 * high:+.1f}, "
            f"{report.comparison.rows:,} test records",
            f"- Data: {data['asked']:,} answers asked for, {data['kept']:,} kept",
            f"- Objective: {report.training['objective']} ({report.training['objectiveReason']})",
            f"- Hardware: {report.provenance['hardware']}",
            "",
        ]
    )
