"""Deciders about the snapshot of a run: adopt it, create it, update it before the first child, or report its loss.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

import math
from dataclasses import replace

from kubedistill.errors import InvalidInput
from kubedistill_operator.children.attempt import check_children
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import fail_run
from kubedistill_operator.decisions.policy import check_policy
from kubedistill_operator.decisions.run_snapshot import (
    RunSnapshot,
    current_settings,
    frozen_manifest,
    has_digest,
    take_snapshot,
)
from kubedistill_operator.decisions.waiting import wait_for_obstacle
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run


def adopt_snapshot(context: ReconcileContext) -> Plan | None:
    """Record, once, the digest of a run that 0.1 froze; its spec was checked, and from now on its bytes are."""
    run, found = context.status.run, context.observed.frozen
    if run is None or run.snapshot_digest or context.run is None or found is None or context.is_over:
        return None
    status = with_run(context.status, snapshot_digest=found.snapshot)
    message = f"run {run.id}, which an earlier version froze, is in ConfigMap {found.name}, sha256 {found.snapshot}"
    return Plan(status=status, events=(Event("SnapshotAdopted", message),), requeue_after=0, why=(message,))


def ensure_snapshot(context: ReconcileContext) -> Plan | None:
    """Continue only with the snapshot whose digest is in the status; create it again if a crash prevented that."""
    run, stage, found = context.status.run, context.current, context.observed.frozen
    if run is None or stage is None or context.run is not None or context.is_over:
        return None
    fresh = _current_snapshot(context)
    decoy = found is not None and run.snapshot_digest and not found.name.endswith(run.snapshot_digest)
    if (found is None or decoy) and fresh is not None and fresh.snapshot == run.snapshot_digest:
        return Plan(create=(frozen_manifest(context.job, fresh),), requeue_after=0, why=("the run is frozen",))
    if found is not None:
        message = f"ConfigMap {found.name} does not match the digest in status.run; delete it"
        spec, is_running = context.live_spec, stage.state == "Running"
        limit = math.inf if is_running or spec is None else spec.scheduling_timeout_seconds
        return wait_for_obstacle(context, stage, reason="FrozenRunForged", message=message, limit=limit)
    if fresh is not None and (not run.snapshot_digest or _is_untouched(context)):
        return _replace_snapshot(context, fresh)
    message = "the snapshot of the run is missing, and spec or settings have changed since; set a new spec.runID"
    return fail_run(context, reason="FrozenRunLost", message=message)


def update_snapshot(context: ReconcileContext) -> Plan | None:
    """Apply changed settings to a run that has created no child yet, unless the run would not fit them."""
    run, known = context.run, context.status.run
    if run is None or known is None or context.is_over or not _is_untouched(context):
        return None
    kept = current_settings(run.spec, namespace=context.job.namespace, settings=context.settings)
    fresh = RunSnapshot(run.id, run.digest, run.spec, kept, run.frozen_spec)
    if fresh.snapshot == known.snapshot_digest:
        return None
    try:
        check_policy(fresh.spec, fresh.settings.policy)
        check_children(
            fresh.spec,
            namespace=context.job.namespace,
            pools=fresh.settings.pools,
            create_service_accounts=context.settings.rbac.create_service_accounts,
        )
    except InvalidInput:  # keep the settings that the run started with
        return None
    return _replace_snapshot(context, fresh)


def _current_snapshot(context: ReconcileContext) -> RunSnapshot | None:
    """Return the run that spec and settings give now; None if the spec has changed."""
    job, run = context.job, context.status.run
    assert run is not None
    if job.spec is None or not has_digest(job.spec, run.digest):
        return None
    return replace(take_snapshot(job, run.id, settings=context.settings), digest=run.digest)


def _replace_snapshot(context: ReconcileContext, fresh: RunSnapshot) -> Plan:
    """Replace the snapshot of the run; the status gets its digest first."""
    status = with_run(context.status, snapshot_digest=fresh.snapshot)
    message = f"run {fresh.id} takes the current settings; it had no child before"
    return Plan(
        status=status,
        create=(frozen_manifest(context.job, fresh),),
        events=(Event("RunRefrozen", message),),
        requeue_after=0,
        why=(message,),
    )


def _is_untouched(context: ReconcileContext) -> bool:
    """Return whether the run never had a child, as far as status, channel and cluster show."""
    run, observed = context.status.run, context.observed
    assert run is not None
    begun = run.begun_at or run.artifacts or any(stage.child_uid for stage in context.status.stages)
    attempts = (observed.attempt, *observed.earlier)
    return not begun and not any(one.child is not None or one.pods or one.has_started for one in attempts)
