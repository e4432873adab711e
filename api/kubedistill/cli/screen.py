"""The output of a run for people: bars on a terminal, plain lines elsewhere, and a table at the end."""

import time
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from kubedistill.chain import CHAIN
from kubedistill.cli.runtime import exit_code_of
from kubedistill.cli.terminal import Terminal
from kubedistill.client.job import name_models
from kubedistill.contract import StageProgress
from kubedistill.contract.events import Event, FailedEvent, FinishedEvent, NoteEvent, ProgressEvent, StageEvent
from kubedistill.contract.summaries import PrepareSummary
from kubedistill.printing import printable_line
from kubedistill.report.estimates import estimate_line
from kubedistill.report.models import Report
from kubedistill.report.table import HEADS, headline, table_lines
from kubedistill.report.words import control_text, gate_details, gate_state
from kubedistill.stored import read_stored, read_stored_json
from kubedistill.symbols import colored_symbol
from kubedistill.v1alpha1 import DistillationJob

_PLAIN_SECONDS = 10


def show(events: Iterable[Event], *, job: DistillationJob) -> int:
    """Show the events of a run as they arrive, and return the exit code."""
    console = Terminal()
    what = escape(f"{job.spec.task.type}: {name_models(job.spec)}")
    console.print(f"[bold]{job.metadata.name}[/]  {what}", soft_wrap=True)
    last = (_show_bars if console.is_terminal else _show_lines)(events, console=console)
    if isinstance(last, FinishedEvent):
        _show_result(last, console=console)
    elif isinstance(last, FailedEvent):
        Terminal(stderr=True).print(f"[red]{last.reason}[/]: {escape(last.message)}", soft_wrap=True)
    return exit_code_of(last)


def _show_lines(events: Iterable[Event], *, console: Terminal) -> Event | None:
    """Print a line for each change of a stage, and a line of progress every ten seconds."""
    event, printed_at = None, 0.0
    for event in events:
        if isinstance(event, StageEvent):
            _print_line(console, f"{event.stage:<9} {event.state:<10}{_outcome(event)}")
            _print_estimate(console, event)
        elif isinstance(event, ProgressEvent) and time.monotonic() - printed_at >= _PLAIN_SECONDS:
            printed_at = time.monotonic()
            _print_line(console, f"{event.stage:<9} {_describe(event.progress)}")
        elif isinstance(event, NoteEvent):
            _print_line(console, event.message)
    return event


def _print_line(console: Terminal, text: str) -> None:
    """Print text on one line without markup, because paths and reasons may contain brackets."""
    console.print(printable_line(text.rstrip()), markup=False, soft_wrap=True)


def _print_estimate(console: Terminal, event: StageEvent) -> None:
    """Print what the run will take after Prepare, unless that is not known or everything exists."""
    if event.stage != "Prepare" or event.summary is None:
        return
    estimate = read_stored(PrepareSummary, event.summary).estimate
    if estimate is not None and (line := estimate_line(estimate)):
        _print_line(console, line)


def _show_bars(events: Iterable[Event], *, console: Terminal) -> Event | None:
    """Show a bar for each stage, with rate and remaining time."""
    event = None
    columns = (
        TextColumn("{task.fields[symbol]}"),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(SpinnerColumn("dots", finished_text=" "), *columns, console=console) as bars:
        tasks: dict[str, TaskID] = {
            stage.name: bars.add_task(
                stage.name, total=None, start=False, symbol=colored_symbol("Pending"), text="", visible=False
            )
            for stage in CHAIN
        }
        for event in events:
            if isinstance(event, StageEvent):
                _show_stage(bars, tasks[event.stage], event)
                _print_estimate(console, event)
            elif isinstance(event, NoteEvent):
                _print_line(console, event.message)
            elif isinstance(event, ProgressEvent):
                now = event.progress
                bars.update(tasks[event.stage], total=now.total or None, completed=now.done, text=_describe(now))
    return event


def _show_stage(bars: Progress, task: TaskID, event: StageEvent) -> None:
    """Update the bar of a stage after a change of its state."""
    bars.update(task, symbol=colored_symbol(event.state), visible=True)
    if event.state == "Running":
        bars.start_task(task)
    else:
        bars.start_task(task)
        bars.update(task, total=1, completed=1, text=_outcome(event))
        bars.stop_task(task)


def _describe(progress: StageProgress) -> str:
    """Return the progress of a stage as text."""
    if progress.state == "Loading" or not progress.total:
        return progress.message
    text = f"{progress.done:,} of {progress.total:,} {progress.unit}"
    if progress.rate:
        text += f", {progress.rate:,.0f}/s, {progress.eta_seconds or 0:,.0f} s left"
    return text + "".join(_figure(name, value) for name, value in progress.figures.items())


def _figure(name: str, value: float) -> str:
    """Return a figure as text; times are omitted, since they are for metrics."""
    if name.endswith("At"):
        return ""
    return f", {name} {value:,.0f}" if value >= 1000 and value == round(value) else f", {name} {value:.4g}"


def _outcome(event: StageEvent) -> str:
    """Return the result of a stage as text."""
    if event.state == "Skipped":
        return "already exists"
    return f"{event.message} ({event.seconds or 0:.1f} s)" if event.state == "Succeeded" else ""


def _show_result(finished: FinishedEvent, *, console: Terminal) -> None:
    """Print the table of the report, its summary, the verdict of the gate, and the paths of student and report."""
    report = read_stored_json(Report, Path(finished.report.json_file).read_bytes())
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(HEADS[0])
    for name in HEADS[1:]:
        table.add_column(name, justify="right", style="bold" if name == "distilled" else None)
    for line in table_lines(report):
        table.add_row(line.name, line.teacher, line.baseline, line.distilled, f"[green]{line.change}[/]")
    console.print()
    console.print(table)
    console.print()
    text = headline(report)
    _print_line(console, f"{text[:1].upper()}{text[1:]}.")
    if report.latency_control is not None and report.latency_control.noise:
        text = control_text(report.latency_control)
        _print_line(console, f"{text[:1].upper()}{text[1:]}.")
    console.print(_gate_line(report, seconds=finished.seconds), soft_wrap=True)
    for place in finished.exports:
        _print_line(console, f"Student: {place}")
    _print_line(console, f"Report: {finished.report.html}")


def _gate_line(report: Report, *, seconds: float) -> str:
    """Return the verdict of the gate, as rich markup."""
    state, details = gate_state(report.gate), escape(gate_details(report.gate))
    if state == "failed":
        return f"[red]Gate failed[/]: {details}"
    if state == "not set":
        return f"No gate was set. Done in {seconds:.0f} s."
    if state == "not checked":
        return f"No limit could be checked. Done in {seconds:.0f} s: {details}."
    return f"[green]Gate passed[/] in {seconds:.0f} s{': ' if details else ''}{details}."
