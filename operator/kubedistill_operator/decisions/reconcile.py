"""Reconcile: a tuple of pure deciders; the first answer wins, and none calls another."""

from collections.abc import Callable
from dataclasses import replace

from kubedistill.settings import Settings
from kubedistill_operator.decisions.attempts import (
    begin_attempt,
    finish_run,
    make_child,
    skip_complete,
    sweep_children,
    wait_for_turn,
)
from kubedistill_operator.decisions.freeze import FrozenRun, thaw
from kubedistill_operator.decisions.lifecycle import (
    cancel,
    go_on_understood,
    keep_frozen,
    leave_deleted,
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
from kubedistill_operator.decisions.waiting import (
    adopt_child,
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
    leave_deleted,
    go_on_understood,
    note_drift,
    rest_when_over,
    note_admission,
    record_restart,
    record_success,
    supersede,
    start_run,
    wait_for_leave,
    keep_frozen,
    sweep_children,
    cancel,
    suspend,
    resume,
    wait_for_end,
    finish_stopping,
    enforce_deadline,
    note_end,
    record_failure,
    adopt_child,
    finish_run,
    skip_complete,
    wait_for_remains,
    wait_for_turn,
    begin_attempt,
    make_child,
    wait_in_queue,
    wait_for_pods,
    enforce_progress,
    follow,
)


def reconcile(job: Job, observed: Observed, *, now: float, settings: Settings) -> Plan:
    """Decide what to do about a job; the same inputs give the same Plan, and an unchanged status is left out of it."""
    situation = Situation(job, observed, now, settings, _thawed(observed))
    plan = next((plan for decider in DECIDERS if (plan := decider(situation)) is not None), Plan())
    if plan.status is None:
        return plan
    status = summarise(plan.status, now=now, generation=job.generation)
    return replace(plan, status=None if status == job.status else status)


def _thawed(observed: Observed) -> FrozenRun | None:
    return thaw(observed.frozen) if observed.frozen is not None else None
