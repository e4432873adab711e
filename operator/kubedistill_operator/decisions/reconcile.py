"""Reconcile: a tuple of pure deciders; the first answer wins, and none calls another."""

from collections.abc import Callable
from dataclasses import replace

from kubedistill.manifest.settings import Settings
from kubedistill_operator.decisions.attempts import (
    begin_attempt,
    finish_run,
    make_child,
    skip_complete,
    sweep_children,
    wait_for_gpus,
    wait_for_turn,
)
from kubedistill_operator.decisions.deletion import delete_children, leave_orphaned, rest_deleted, stop_deleted
from kubedistill_operator.decisions.freeze import FrozenRun, is_intact, thaw
from kubedistill_operator.decisions.lifecycle import (
    cancel,
    go_on_understood,
    hold_restored,
    note_drift,
    rest_when_over,
    resume,
    start_run,
    supersede,
    suspend,
)
from kubedistill_operator.decisions.outcome import (
    enforce_deadline,
    finish_stopping,
    note_end,
    record_failure,
    record_restart,
    record_success,
)
from kubedistill_operator.decisions.situation import Situation
from kubedistill_operator.decisions.snapshots import adopt_snapshot, keep_frozen, refreeze
from kubedistill_operator.decisions.waiting import (
    adopt_child,
    end_overdue,
    enforce_progress,
    follow,
    note_admission,
    wait_for_end,
    wait_for_leave,
    wait_for_pods,
    wait_for_remains,
    wait_in_queue,
)
from kubedistill_operator.job import Job
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Plan
from kubedistill_operator.status import summarise

Decider = Callable[[Situation], Plan | None]

DECIDERS: tuple[Decider, ...] = (
    go_on_understood,
    note_drift,
    rest_when_over,
    adopt_snapshot,
    note_admission,
    record_restart,
    record_success,
    supersede,
    hold_restored,
    start_run,
    wait_for_leave,
    sweep_children,
    cancel,
    suspend,
    resume,
    wait_for_end,
    finish_stopping,
    enforce_deadline,
    end_overdue,
    note_end,
    keep_frozen,  # after what needs no frozen run: a job whose run was forged can be cancelled and suspended
    refreeze,
    record_failure,
    adopt_child,
    finish_run,
    skip_complete,
    wait_for_remains,
    wait_for_turn,
    wait_for_gpus,
    begin_attempt,
    make_child,
    wait_in_queue,
    wait_for_pods,
    enforce_progress,
    follow,
)
DELETION_DECIDERS: tuple[Decider, ...] = (
    leave_orphaned,
    record_success,
    stop_deleted,
    delete_children,
    finish_stopping,
    rest_deleted,
)
"""Those of a job that is being deleted."""


def reconcile(job: Job, observed: Observed, *, now: float, settings: Settings) -> Plan:
    """Decide what to do about a job; the same inputs give the same Plan, and an unchanged status is left out of it."""
    situation = Situation(job, observed, now, settings, _thawed(job, observed, settings))
    deciders = DELETION_DECIDERS if job.deleting else DECIDERS
    plan = next((plan for decider in deciders if (plan := decider(situation)) is not None), Plan())
    if plan.status is None:
        return plan
    status = summarise(plan.status, now=now, generation=job.generation, deleting=job.deleting)
    return replace(plan, status=None if status == job.status else status)


def _thawed(job: Job, observed: Observed, settings: Settings) -> FrozenRun | None:
    """The frozen run, if what was found is the one that status means."""
    run, found = job.status.run, observed.frozen
    return thaw(found, settings=settings) if run and found and is_intact(found, run) else None
