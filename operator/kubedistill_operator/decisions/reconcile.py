"""Reconcile: an ordered tuple of pure deciders. The first Plan that one returns counts; no decider calls another."""

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
from kubedistill_operator.decisions.budget import describe_dollars
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.deletion import delete_children, leave_orphaned, report_deletion, stop_deleted
from kubedistill_operator.decisions.failures import record_failure, record_restart, wait_for_result
from kubedistill_operator.decisions.lifecycle import (
    cancel,
    clean_up_finished,
    clear_not_understood,
    hold_restored,
    note_drift,
    note_unreadable,
    start_run,
    supersede,
)
from kubedistill_operator.decisions.progress import enforce_progress, report_progress
from kubedistill_operator.decisions.results import record_success
from kubedistill_operator.decisions.run_snapshot import RunSnapshot, is_intact, load_snapshot
from kubedistill_operator.decisions.snapshots import adopt_snapshot, ensure_snapshot, update_snapshot
from kubedistill_operator.decisions.stopping import enforce_deadline, finish_stopping
from kubedistill_operator.decisions.suspension import resume, suspend, suspend_spent
from kubedistill_operator.decisions.waiting import (
    adopt_child,
    end_overdue,
    note_admission,
    report_stopping,
    wait_after_refusal,
    wait_for_earlier_pods,
    wait_for_pods,
    wait_in_queue,
)
from kubedistill_operator.job import Job
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Plan
from kubedistill_operator.status import summarize

Decider = Callable[[ReconcileContext], Plan | None]

DECIDERS: tuple[Decider, ...] = (
    # 1. Record what has happened, whatever the user wants of the run.
    note_unreadable,  # before clear_not_understood: nothing is known of what exists, so nothing else is decided
    clear_not_understood,  # before note_drift: no decision is based on a status that is marked as not understood
    note_drift,  # before clean_up_finished: an edit is reported after the end of a run too
    clean_up_finished,  # before adopt_snapshot: a run that is over is only cleaned up
    adopt_snapshot,  # before ensure_snapshot: from then on the bytes of a run that 0.1 froze are compared
    note_admission,  # before record_success: else the queue wait of an attempt that has ended would never end
    record_restart,  # before record_success: lost drivers are charged even if the last one succeeds
    record_success,  # before supersede, cancel and suspend: a result counts, even if the attempt was told to stop
    # 2. Select the run, and decide whether it continues.
    supersede,  # before start_run: the old run is recorded before the next one starts
    hold_restored,  # before start_run: a job without status may have run before
    start_run,  # before sweep_children: from here on there is a run
    wait_after_refusal,  # before sweep_children and make_child: a refused write is not repeated at once
    sweep_children,  # before suspend: children of earlier attempts are deleted in a suspended run too
    cancel,  # before suspend: a suspended run can be cancelled
    suspend,  # before suspend_spent: the user's own request is the reason that is shown
    suspend_spent,  # before resume and begin_attempt: nothing begins in a suspended run
    resume,  # before begin_attempt: Prepare looks again first
    # 3. End the current attempt.
    report_stopping,  # before finish_stopping: it reports what finish_stopping waits for
    finish_stopping,  # before enforce_deadline: from here on no attempt is stopping
    enforce_deadline,  # before record_failure: there are no retries after the deadline
    end_overdue,  # before wait_for_result: a child that KubeRay ended before it ran leaves no result
    wait_for_result,  # before record_failure: the driver's result may still arrive
    ensure_snapshot,  # after cancel and suspend: a job whose snapshot was forged can be stopped
    update_snapshot,  # after ensure_snapshot: only an intact run takes new settings; before begin_attempt
    record_failure,  # before adopt_child: there is no waiting for a child that has failed
    # 4. Start what comes next: a stage, when its turn comes, and the attempt with its child.
    adopt_child,  # before make_child: a child that was seen is not created again
    finish_run,  # before skip_complete: if all stages are done, no stage is next
    skip_complete,  # before wait_for_earlier_pods and wait_for_turn: a skipped stage waits for nothing
    wait_for_earlier_pods,  # before wait_for_turn: a run with old pods does not ask for its turn
    wait_for_turn,  # before wait_for_gpus: GPUs are requested last, when nothing else blocks the attempt
    wait_for_gpus,  # before begin_attempt: an attempt holds its GPUs from its beginning
    begin_attempt,  # before make_child: the status is written first, so that a crash starts no attempt twice
    make_child,  # before wait_in_queue: an incomplete child is completed first
    # 5. Follow the child of the attempt.
    wait_in_queue,  # before wait_for_pods: a child in a queue has no pods, and waits without limit
    wait_for_pods,  # before enforce_progress: only a driver that runs must make progress
    enforce_progress,  # before report_progress: a driver without progress for too long is ended
    report_progress,  # after enforce_progress: nothing else needs action
)
"""Each row states what it must precede or follow, and why; a test checks the order."""
DELETION_DECIDERS: tuple[Decider, ...] = (
    leave_orphaned,
    note_unreadable,
    record_success,
    stop_deleted,
    delete_children,
    finish_stopping,
    report_deletion,
)
"""The deciders of a job that is being deleted."""


def reconcile(job: Job, observed: Observed, *, now: float, settings: Settings) -> Plan:
    """Decide what to do about a job. The same inputs give the same Plan; its status is None if nothing changes."""
    context = ReconcileContext(job, observed, now, settings, _snapshot(job, observed, settings))
    deciders = DELETION_DECIDERS if job.deleting else DECIDERS
    plan = next((plan for decider in deciders if (plan := decider(context)) is not None), Plan())
    if plan.status is None:
        return plan
    status = plan.status.model_copy(update={"dollars": describe_dollars(context, plan.status)})
    status = summarize(status, now=now, generation=job.generation, deleting=job.deleting)
    return replace(plan, status=None if status == job.status else status)


def _snapshot(job: Job, observed: Observed, settings: Settings) -> RunSnapshot | None:
    """Return the snapshot of the run, if the ConfigMap found is the one whose digest is in the status."""
    run, found = job.status.run, observed.frozen
    return load_snapshot(found, settings=settings) if run and found and is_intact(found, run) else None
