"""report.html: one self-contained page, the verdict first."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from kubedistill.report import Report
from kubedistill.report_table import Line, headline, short_p, table_lines
from kubedistill_runtime.report.plots import plot_curve, plot_scores


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure at the top of the page."""

    figure: str
    meaning: str


def render_page(report: Report, *, title: str) -> str:
    """Render the page; all text from records is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("kubedistill_runtime.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": lambda value: f"{value:.1%}", "short_p": short_p}
    plots = {"scores": plot_scores(report), "curve": plot_curve(report.training["curve"])}
    return environment.get_template("page.html.j2").render(
        report=report,
        title=title,
        headline=headline(report),
        tiles=_tiles(report),
        measured=_measured(report),
        lines=[*table_lines(report), *_further_lines(report)],
        labels=sorted(report.labels, key=lambda label: label["distilled"] - label["teacher"]),
        # Our own drawings; their text nodes were escaped by matplotlib.
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704
    )


def _tiles(report: Report) -> list[Tile]:
    compared, saved = report.comparison, report.reductions
    low, high = (f"{100 * end:+.1f}" for end in compared.ci95)
    gain = f"points of {compared.measure} against the untrained student, 95% interval {low} to {high}"
    tiles = [Tile(f"{100 * compared.gain:+.1f}", gain)]
    if compared.gap_closed is None:
        reason = "how much of the gap is closed: the teacher is not measurably better than the untrained student"
        tiles.append(Tile("unknown", reason))
    else:
        tiles.append(Tile(f"{compared.gap_closed:.1%}", "of the gap between untrained student and teacher closed"))
    if report.arms.distilled.accuracy is None:
        tiles.append(Tile(f"{report.arms.distilled.agreement:.1%}", compared.measure))
    elif compared.retention is not None:
        tiles.append(Tile(f"{compared.retention:.1%}", f"of the teacher's {compared.measure} kept"))
    for value, what in ((saved.memory, "memory"), (saved.latency, "time per answer"), (saved.cost, "cost per answer")):
        if value is not None:
            tiles.append(Tile(f"{abs(value):.0%} {'less' if value >= 0 else 'more'}", f"{what} than the teacher"))
    return tiles


def _measured(report: Report) -> str:
    teacher, student = report.arms.teacher.hardware, report.arms.distilled.hardware
    if teacher == student:
        return f"Measured on {teacher}."
    return f"The teacher was measured on {teacher}, the student on {student}, so their times are not compared."


def _further_lines(report: Report) -> list[Line]:
    """What only the page has room for: the task's other metrics, and answers that are none."""
    arms = (report.arms.teacher, report.arms.baseline, report.arms.distilled)
    others = [name for name in report.arms.distilled.metrics if name != report.comparison.measure]
    rows = {name: [arm.metrics[name] for arm in arms] for name in others}
    rows["answers in a wrong form"] = [arm.invalid_rate for arm in arms]
    return [
        Line(name, f"{teacher:.1%}", f"{baseline:.1%}", f"{distilled:.1%}", "")
        for name, (teacher, baseline, distilled) in rows.items()
    ]
