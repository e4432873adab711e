"""A job as a picture for a terminal: its stages with bars, what it waits for, and its result."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from kubedistill.cli.changes import describe_attempt, elapsed, ending, opening, short_time
from kubedistill.client.job import Job
from kubedistill.printing import printable_line
from kubedistill.report.estimates import totals_line
from kubedistill.stages import percent_done
from kubedistill.symbols import colored_symbol
from kubedistill.v1alpha1 import StageStatus

_PHASES = {"Succeeded": "green", "Failed": "red", "Suspended": "yellow", "Queued": "yellow", "Pending": "yellow",
           "Deleting": "yellow"}  # fmt: skip
_BAR = 24


def picture(job: Job, *, now: datetime | None = None) -> RenderableType:
    """Return a job with all its stages, to fit on one screen."""
    now = now or datetime.now(UTC)
    color = _PHASES.get(job.phase, "cyan")
    parts: list[RenderableType] = [
        f"[bold]{_text(opening(job))}[/]",
        f"[{color}]{_text(job.phase)}[/]{_message(job)}",
    ]
    if job.status.stages:
        parts += [_stages(job, now=now)]
    if line := _estimate(job):
        parts += [f"[dim]{_text(line)}[/]"]
    if job.is_over:
        parts += [_text(line) for line in ending(job)]
    return Group(*parts)


def _text(text: str) -> str:
    """Return text as rich markup on one line, because a line break could forge a line of the picture."""
    return escape(printable_line(text))


def _message(job: Job) -> str:
    return f": [dim]{_text(job.message)}[/]" if job.message and not job.is_over else ""


def _estimate(job: Job) -> str:
    """Return what the run was estimated to take; empty if that is not known, or if nothing of it will run."""
    found = job.status.estimate
    if found is None or job.is_over or all(one.reused for one in found.stages):
        return ""
    return totals_line(found.seconds, gpu_hours=found.gpu_hours, dollars=found.dollars)


def _stages(job: Job, *, now: datetime) -> Table:
    """Return a table of the stages with their bars."""
    grid = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "left", "left", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    for stage in job.status.stages:
        time = elapsed(stage, now=now)
        bar = ProgressBar(total=100, completed=percent_done(stage), width=_BAR)
        grid.add_row(
            colored_symbol(stage.state),
            _text(stage.name),
            bar,
            _text(_note(stage)),
            "" if time is None else f"[dim]{short_time(time)}[/]",
        )
    return grid


def _note(stage: StageStatus) -> str:
    """Return the text next to the bar of a stage."""
    left = f"{short_time(stage.eta_seconds)} left" if stage.state == "Running" and stage.eta_seconds else ""
    share = f"{stage.percent}%" if stage.state == "Running" else ""
    state = {"Skipped": "already exists", "Starting": "starting", "Stopping": "stopping", "Failed": "failed"}
    why = stage.reason if stage.state in ("Starting", "Stopping", "Failed") else ""
    attempt = describe_attempt(stage)
    if stage.state == "Running" and attempt:  # there is no room for more
        attempt = f"attempt {stage.attempt}"
    parts = (state.get(stage.state, ""), share, left, why, attempt)
    return ", ".join(part for part in parts if part)
