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
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.deletion import delete_children, leave_orphaned, rest_deleted, stop_deleted
from kubedistill_operator.decisions.failures import note_end, record_failure, record_restart
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
from kubedistill_operator.decisions.progress import enforce_progress, follow
from kubedistill_operator.decisions.results import record_success
from kubedistill_operator.decisions.run_snapshot import RunSnapshot, is_intact, load_snapshot
from kubedistill_operator.decisions.snapshots import adopt_snapshot, keep_frozen, refreeze
from kubedistill_operator.decisions.stopping import enforce_deadline, finish_stopping
from kubedistill_operator.decisions.waiting import (
    adopt_child,
    end_overdue,
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

Decider = Callable[[ReconcileContext], Plan | None]

DECIDERS: tuple[Decider, ...] = (
    # 1. What has happened is written down, whatever is wanted of the run.
    go_on_understood,  # before note_drift: nothing is decided on a status that counts as not understood
    note_drift,  # before rest_when_over: an edit is noted after the end of a run too
    rest_when_over,  # before adopt_snapshot: a run that is over is only cleaned up
    adopt_snapshot,  # before keep_frozen: from then on the bytes of a run that 0.1 froze are compared
    note_admission,  # before record_success: the wait of an attempt that has ended would never end
    record_restart,  # before record_success: lost drivers are charged even if the last one succeeds
    record_success,  # before supersede, cancel and suspend: a result counts, even of an attempt that is to leave
    # 2. Which run there is, and whether it goes on.
    supersede,  # before start_run: the old run is recorded before the next one starts
    hold_restored,  # before start_run: a job without status may have run before
    start_run,  # before sweep_children: from here on there is a run
    wait_for_leave,  # before sweep_children and make_child: a refused write is not repeated at once
    sweep_children,  # before suspend: earlier children go while a run is suspended too
    cancel,  # before suspend: a suspended run can be cancelled
    suspend,  # before resume and begin_attempt: nothing begins in a suspended run
    resume,  # before begin_attempt: Prepare looks again first
    # 3. How the attempt under way ends.
    wait_for_end,  # before finish_stopping: it names what finish_stopping waits for
    finish_stopping,  # before enforce_deadline: from here on no attempt is on its way out
    enforce_deadline,  # before record_failure: after the deadline nothing is retried
    end_overdue,  # before note_end: a child that KubeRay ended before it ran has no last word to wait for
    note_end,  # before record_failure: the driver's last word may still be on its way
    keep_frozen,  # after cancel and suspend: a job whose run was forged can be stopped
    refreeze,  # after keep_frozen: only an intact run takes over settings; before begin_attempt
    record_failure,  # before adopt_child: a child that has failed is not waited for
    # 4. What comes next: a stage, its turn, and the attempt with its child.
    adopt_child,  # before make_child: what was seen is not made again
    finish_run,  # before skip_complete: where all stages are done, nothing is next
    skip_complete,  # before wait_for_remains and wait_for_turn: a stage that is not started waits for nothing
    wait_for_remains,  # before wait_for_turn: while pods of this run are left, no place is asked for
    wait_for_turn,  # before wait_for_gpus: GPUs are asked for when nothing else is in the way
    wait_for_gpus,  # before begin_attempt: an attempt that has begun holds its GPUs
    begin_attempt,  # before make_child: status first, so that no crash allots an attempt twice
    make_child,  # before wait_in_queue: a child with a part missing is completed before it is waited for
    # 5. What the child of the attempt does.
    wait_in_queue,  # before wait_for_pods: a child that a queue holds back has no pods, and waits without limit
    wait_for_pods,  # before enforce_progress: progress is asked of a driver that runs
    enforce_progress,  # before follow: a driver that is silent for too long is not followed
    follow,  # after enforce_progress: nothing else asks for anything
)
"""Each row says what it must precede or follow, and why; a test compares the two."""
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
    context = ReconcileContext(job, observed, now, settings, _snapshot(job, observed, settings))
    deciders = DELETION_DECIDERS if job.deleting else DECIDERS
    plan = next((plan for decider in deciders if (plan := decider(context)) is not None), Plan())
    if plan.status is None:
        return plan
    status = summarise(plan.status, now=now, generation=job.generation, deleting=job.deleting)
    return replace(plan, status=None if status == job.status else status)


def _snapshot(job: Job, observed: Observed, settings: Settings) -> RunSnapshot | None:
    """The frozen run, if what was found is the one that status means."""
    run, found = job.status.run, observed.frozen
    return load_snapshot(found, settings=settings) if run and found and is_intact(found, run) else None
