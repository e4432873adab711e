"""report.html: one self-contained page that begins with the verdict."""

from dataclasses import dataclass
from unicodedata import normalize

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from kubedistill.printing import printable
from kubedistill.report.models import Example, Report
from kubedistill.report.table import NOT_KNOWN, TEACHER_HEADS, Line, headline, table_lines, teacher_rows
from kubedistill.report.usage import USAGE_HEADS, usage_notes, usage_rows
from kubedistill.report.words import (
    DROPPED,
    REJECTED,
    control_text,
    diversity_text,
    fields_of,
    gate_details,
    gate_state,
    gate_text,
    is_agreement,
    p_text,
    records_text,
    words_of,
)
from kubedistill_runtime.report.notes import as_sentence, cost_notes, teacher_notes, time_notes
from kubedistill_runtime.report.plots import plot_curve, plot_scores


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure at the top of the page."""

    figure: str
    meaning: str


def render_page(report: Report, *, title: str) -> str:
    """Render the page; all text from records is escaped, and no external resource is loaded."""
    environment = Environment(
        loader=PackageLoader("kubedistill_runtime.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent}
    environment.tests |= {"right": _is_right}
    plots = {"scores": plot_scores(report), "curve": plot_curve(report.training.curve)}
    page = environment.get_template("page.html.j2").render(
        report=report,
        title=title,
        headline=headline(report),
        tiles=_tiles(report),
        gate={"state": gate_state(report.gate), "text": gate_text(report.gate), "details": gate_details(report.gate)},
        records=records_text(report.comparison),
        p_value=p_text(report.comparison.p_value),
        measured=_measured(report),
        dropped_words=DROPPED,
        rejected_words=REJECTED,
        diversity=diversity_text(report.data),
        lines=[*table_lines(report), *_further_lines(report)],
        teacher_heads=TEACHER_HEADS,
        teachers=teacher_rows(report),
        usage_heads=USAGE_HEADS,
        usage=usage_rows(report.usage),
        usage_notes=" ".join(as_sentence(note) for note in usage_notes(report.usage)),
        labels=sorted(report.labels, key=lambda label: label.distilled - label.teacher),
        # Our own plots; matplotlib has escaped their text nodes.
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704
    )
    return printable(page)


def _tiles(report: Report) -> list[Tile]:
    """Return tiles for the gain, the gap closed, the retained score and the savings, as far as they are known."""
    compared, saved = report.comparison, report.reductions
    words, fields = words_of(compared), fields_of(compared)
    tiles = [Tile(words.figure.format(**fields), words.tile.format(**fields))]
    if words.gap is not None:
        tiles.append(Tile(*(text.format(**fields) for text in words.gap)))
    if is_agreement(compared):
        tiles.append(Tile(_percent(report.arms.distilled.agreement), compared.measure))
    elif compared.retention is not None:
        tiles.append(Tile(f"{compared.retention:.1%}", f"of the teacher's {compared.measure} kept"))
    for value, what in ((saved.memory, "memory"), (saved.latency, "time per answer"), (saved.cost, "cost per answer")):
        if value is not None:
            tiles.append(Tile(f"{abs(value):.0%} {'less' if value >= 0 else 'more'}", f"{what} than the teacher"))
    return tiles


def _measured(report: Report) -> str:
    """Return sentences on the hardware, the control of latency, the teacher's answers, and what is not known."""
    teacher, student = report.arms.teacher.hardware, report.arms.distilled.hardware
    said = f"measured on {teacher}"
    if teacher != student:
        said = f"the teacher was measured on {teacher}, the student on {student}, so their times are not compared"
    control = [] if report.latency_control is None else [control_text(report.latency_control)]
    served = report.provenance.served_defaults
    notes = (said, *control, *time_notes(report), *teacher_notes(report), *cost_notes(report), *served)
    return " ".join(as_sentence(note) for note in notes)


def _further_lines(report: Report) -> list[Line]:
    """Return lines that only this page has: the task's other metrics, and the rate of answers in a wrong form."""
    arms = (report.arms.teacher, report.arms.baseline, report.arms.distilled)
    others = [name for name in report.arms.distilled.metrics if name != report.comparison.measure]
    rows = {name: [_percent(arm.metrics[name]) for arm in arms] for name in others}
    rows["answers in a wrong form"] = [_percent(arm.invalid_rate) for arm in arms]
    return [Line(name, teacher, baseline, distilled, "") for name, (teacher, baseline, distilled) in rows.items()]


def _is_right(text: str, example: Example) -> bool:
    """Return whether an answer to a label task is one of the example's references."""
    return _label(text) in {_label(reference) for reference in (*example.references, example.reference or "")}


def _label(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).strip().casefold())


def _percent(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1%}"
