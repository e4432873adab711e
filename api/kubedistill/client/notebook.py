"""What a notebook shows of a job and of a comparison: small tables without scripts, in the page's own colours."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from kubedistill.printing import printable_line
from kubedistill.stages import percent_done
from kubedistill.symbols import symbol

if TYPE_CHECKING:
    from kubedistill.client.evaluation import Comparison
    from kubedistill.client.job import Job
    from kubedistill.v1alpha1 import StageStatus

_BAR = (
    '<span style="display:inline-block;width:120px;height:8px;border-radius:4px;background:#8883;overflow:hidden">'
    '<span style="display:block;width:{percent}%;height:8px;background:#2f81f7"></span></span>'
)


def job_html(job: "Job") -> str:
    """A job: its phase, its stages with their progress, and what came out."""
    rows = [
        (symbol(stage.state), _text(stage.name), _text(stage.state), _bar(stage), _text(stage.message))
        for stage in job.status.stages
    ]
    models = f"{job.spec.teachers[0].model.source} → {job.spec.student.model.source}"
    parts = [
        f"<p><b>{_text(job.namespace)}/{_text(job.name)}</b> <b>{_text(job.phase)}</b><br>{_text(models)}</p>",
        f"<p>{_text(job.status.message)}</p>" if job.status.message else "",
        _table((), rows, escaped=True),
        _result(job),
    ]
    return f"<div>{''.join(parts)}</div>"


def comparison_html(comparison: "Comparison") -> str:
    """A comparison: its table, one sentence, and where the report is."""
    from kubedistill.client.evaluation import rows_of
    from kubedistill.report.table import headline

    heads = ("", "teacher", "before", "distilled", "against teacher")
    said = f"<p>{_text(headline(comparison.report))}.</p>" if comparison.report is not None else ""
    return f"<div>{_table(heads, rows_of(comparison))}{said}<p>Report: <code>{_text(comparison.page)}</code></p></div>"


def _text(text: str) -> str:
    """A text as HTML on one line; a bidi control would reorder what stands around it."""
    return escape(printable_line(text))


def _bar(stage: "StageStatus") -> str:
    return _BAR.format(percent=percent_done(stage))


def _result(job: "Job") -> str:
    found = job.status.result
    if found is None:
        return ""
    accuracies = (found.teacher_accuracy, found.baseline_accuracy, found.distilled_accuracy)
    cells = ["-" if one is None else f"{one:.1%}" for one in accuracies]
    return _table(("", "teacher", "before", "distilled"), [("accuracy", *cells)])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    """A table; `escaped` says that the cells are HTML already."""
    head = f"<tr>{''.join(f'<th>{_text(one)}</th>' for one in heads)}</tr>" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{one if escaped else _text(one)}</td>' for one in row)}</tr>" for row in rows)
    return f"<table>{head}{body}</table>" if body else ""
