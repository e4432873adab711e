"""The changes between two versions of a job as lines of text, and its result at the end."""

from collections.abc import Iterator
from datetime import datetime

from kubedistill.cli.program import with_program_name
from kubedistill.client.job import Job, name_models
from kubedistill.stages import DONE
from kubedistill.v1alpha1 import StageStatus

_STEP = 10
"""Progress of a stage is printed after this many percent of its work."""


def changes(before: Job | None, after: Job) -> Iterator[str]:
    """Yield a line for the job if it started or waits, and a line for each stage that changed."""
    old = {one.name: one for one in before.status.stages} if before else {}
    if before is None or _run_of(before) not in ("", _run_of(after)):
        yield opening(after)
        old = {}
    for stage in after.status.stages:
        line = _stage_line(old.get(stage.name), stage)
        if line:
            yield f"{stage.name:<9} {line}"
    stalled = after.message != after.status.message
    paused = after.phase in ("Queued", "Suspended", "Deleting") or (after.phase == "Pending" and after.message)
    if (stalled or paused) and (before is None or _phase_line(before) != _phase_line(after)):
        yield _phase_line(after)


def opening(job: Job) -> str:
    """Return a line that identifies a job: its name, task, models and run."""
    run = f", run {job.status.run.id}" if job.status.run else ""
    return f"{job.namespace}/{job.name}: {job.spec.task.type}, {name_models(job.spec)}{run}"


def ending(job: Job) -> Iterator[str]:
    """Yield the result of a job, and the reason if it failed."""
    found = job.status.result
    if found is not None and found.distilled_accuracy is not None and found.baseline_accuracy is not None:
        teacher = "" if found.teacher_accuracy is None else f" (teacher {found.teacher_accuracy:.1%})"
        before, after = found.baseline_accuracy, found.distilled_accuracy
        closed = found.gap_closed is not None and found.gap_closed > 0
        gap = f", {found.gap_closed:.0%} of the gap closed" if closed else ""
        yield f"Accuracy {'fell' if after < before else 'went'} from {before:.1%} to {after:.1%}{teacher}{gap}."
    if job.phase == "Succeeded":
        yield with_program_name(
            f"{job.name} succeeded. To see its report: `kubedistill report {job.name} -n {job.namespace}`"
        )
    elif job.phase == "Failed":
        yield f"{job.name} failed: {job.failure_reason}: {job.status.message}"


def elapsed(stage: StageStatus, *, now: datetime) -> float | None:
    """Return the duration of the latest attempt at a stage in seconds; None if it has not started."""
    start, end = _time(stage.started_at), _time(stage.ended_at) or now
    return None if start is None else max(0.0, (end - start).total_seconds())


def describe_attempt(stage: StageStatus) -> str:
    """Return which attempt at a stage this is, and what ended the earlier ones; empty for the first."""
    if stage.attempt < 2:
        return ""
    restarts = stage.restarts
    counts = {"failure": restarts.failure, "loss": restarts.infrastructure, "preemption": restarts.preemption}
    plurals = {"failure": "failures", "loss": "losses", "preemption": "preemptions"}
    ended = ", ".join(f"{count} {name if count == 1 else plurals[name]}" for name, count in counts.items() if count)
    return f"attempt {stage.attempt} ({ended or 'nothing failed'})"


def short_time(seconds: float) -> str:
    """Return a duration in a short form, such as 12s, 3m05s or 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def _stage_line(before: StageStatus | None, after: StageStatus) -> str:
    """Return a line about the change of a stage; empty if there is nothing to print."""
    if before is None and after.state == "Pending":
        return ""
    moved = before is None or (before.state, before.attempt) != (after.state, after.attempt)
    if moved:
        return _state_line(after)
    assert before is not None
    if after.state == "Running" and (before.percent // _STEP != after.percent // _STEP):
        left = "" if after.eta_seconds is None else f", {short_time(after.eta_seconds)} left"
        return f"{after.percent}%{left}" + (f", {after.message}" if after.message else "")
    if (before.reason, before.message) != (after.reason, after.message) and after.reason:
        return f"{after.reason}: {after.message}"
    return ""


def _state_line(stage: StageStatus) -> str:
    """Return a line about the state of a stage, with its duration, attempt and reason."""
    start, end = _time(stage.started_at), _time(stage.ended_at)
    took = f" in {short_time((end - start).total_seconds())}" if start and end and stage.state == "Succeeded" else ""
    attempt = f", {which}" if (which := describe_attempt(stage)) else ""
    why = f": {stage.reason}: {stage.message}" if stage.reason and stage.state not in DONE else ""
    skipped = ", its artifacts already exist" if stage.state == "Skipped" else ""
    came = f": {stage.message}" if stage.message and stage.state == "Succeeded" else ""
    return f"{stage.state}{took}{attempt}{skipped}{why}{came}"


def _phase_line(job: Job) -> str:
    return f"{job.phase}: {job.message}" if job.message else job.phase


def _run_of(job: Job) -> str:
    return job.status.run.id if job.status.run else ""


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:  # somebody else has written the status
        return None
