"""Deciders about the frozen run: it is adopted, written, waited for, frozen anew while that costs nothing, or lost.

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
    frozen_manifest,
    has_digest,
    settings_of_now,
    take_snapshot,
)
from kubedistill_operator.decisions.waiting import wait_in_the_way
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run


def adopt_snapshot(context: ReconcileContext) -> Plan | None:
    """Record, once, the digest of a run that 0.1 froze; its spec was checked, and from now on its bytes are."""
    run, found = context.status.run, context.observed.frozen
    if run is None or run.snapshot_digest or context.run is None or found is None or context.is_over:
        return None
    status = with_run(context.status, snapshot_digest=found.snapshot)
    message = f"run {run.id}, which an earlier version froze, is ConfigMap {found.name} with sha256 {found.snapshot}"
    return Plan(status=status, events=(Event("SnapshotAdopted", message),), requeue_after=0, why=(message,))


def keep_frozen(context: ReconcileContext) -> Plan | None:
    """Nothing is made but from the run whose digest is in status; it is written again where a crash came between."""
    run, stage, found = context.status.run, context.current, context.observed.frozen
    if run is None or stage is None or context.run is not None or context.is_over:
        return None
    fresh = _freeze_now(context)
    decoy = found is not None and run.snapshot_digest and not found.name.endswith(run.snapshot_digest)
    if (found is None or decoy) and fresh is not None and fresh.snapshot == run.snapshot_digest:
        return Plan(create=(frozen_manifest(context.job, fresh),), requeue_after=0, why=("the run is frozen",))
    if found is not None:
        message = f"ConfigMap {found.name} does not hold the run whose digest status.run has; delete it"
        spec, at_work = context.live_spec, stage.state == "Running"
        limit = math.inf if at_work or spec is None else spec.scheduling_timeout_seconds
        return wait_in_the_way(context, stage, reason="FrozenRunForged", message=message, limit=limit)
    if fresh is not None and (not run.snapshot_digest or _is_untouched(context)):
        return _freeze_anew(context, fresh)
    message = "the frozen run is gone, and spec and settings have changed since; set a new spec.runID"
    return fail_run(context, reason="FrozenRunLost", message=message)


def refreeze(context: ReconcileContext) -> Plan | None:
    """Take changed settings over into a run of which no child was ever made, unless they have no place for it."""
    run, known = context.run, context.status.run
    if run is None or known is None or context.is_over or not _is_untouched(context):
        return None
    kept = settings_of_now(run.spec, namespace=context.job.namespace, settings=context.settings)
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
    except InvalidInput:  # then the settings that it was started with are the better ones
        return None
    return _freeze_anew(context, fresh)


def _freeze_now(context: ReconcileContext) -> RunSnapshot | None:
    """The run as spec and settings give it now; None where the spec is another one."""
    job, run = context.job, context.status.run
    assert run is not None
    if job.spec is None or not has_digest(job.spec, run.digest):
        return None
    return replace(take_snapshot(job, run.id, settings=context.settings), digest=run.digest)


def _freeze_anew(context: ReconcileContext, fresh: RunSnapshot) -> Plan:
    """Another snapshot of the run, its digest first."""
    status = with_run(context.status, snapshot_digest=fresh.snapshot)
    message = f"run {fresh.id} takes over the settings of now; no child of it was made before"
    return Plan(
        status=status,
        create=(frozen_manifest(context.job, fresh),),
        events=(Event("RunRefrozen", message),),
        requeue_after=0,
        why=(message,),
    )


def _is_untouched(context: ReconcileContext) -> bool:
    """Whether no child of the run was ever made, as far as status, channel and cluster know."""
    run, observed = context.status.run, context.observed
    assert run is not None
    begun = run.begun_at or run.artifacts or any(stage.child_uid for stage in context.status.stages)
    attempts = (observed.attempt, *observed.earlier)
    return not begun and not any(one.child is not None or one.pods or one.has_started for one in attempts)
