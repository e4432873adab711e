"""Requests: what the objects of an attempt are built from, taken from the context."""

from datetime import UTC, datetime

from kubedistill.contract import JobRef, Pools, Prices, RunRef, StageJob
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.hardware import find_hardware
from kubedistill_operator.children.layout import teachers_pool
from kubedistill_operator.children.pods import config_map_folders
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.names import attempt_token, former_service_account_name, service_account_name


def make_request(context: ReconcileContext) -> ChildRequest:
    """Return the request for the current attempt's objects; raises InvalidManifest."""
    run, settings, live = context.run, context.settings, context.live_spec
    assert run is not None, "an attempt belongs to a run"
    return ChildRequest(
        stage_job=_stage_job(context),
        pools=run.settings.pools,
        images=run.settings.images,
        account=_account(context),
        queue=live.queue if live is not None else run.spec.queue,
        volume_claim=run.settings.storage.volume_claim,
        settings=run.settings.apply_to(settings),
        checks_job=run.checks_job,
        cost_labels=(context.status.run.labels if context.status.run else None) or {},
    )


def _account(context: ReconcileContext) -> str:
    """Return the ServiceAccount of a job that names none; a run that version 0.1 began keeps its own."""
    run, job = context.run, context.job
    assert run is not None
    return service_account_name(job.name, uid=job.uid) if run.checks_job else former_service_account_name(job.name)


def _stage_job(context: ReconcileContext) -> StageJob:
    run, stage, job = context.run, context.current, context.job
    assert run is not None
    assert stage is not None
    store = run.settings.storage.uri
    found = context.status.run
    artifacts, models = (found.artifacts, found.models) if found else ((), ())
    return StageJob(
        contract=run.contract,
        job=JobRef(namespace=job.namespace, name=job.name, uid=job.uid),
        run=RunRef(id=run.id, digest=run.digest),
        stage=stage.name,
        attempt=stage.attempt,
        token=attempt_token(stage.child, uid=job.uid),
        frozen_spec=run.frozen_spec,
        store=store,
        data_root=store,
        config_maps=config_map_folders(run.spec),
        artifacts={} if stage.name == "Prepare" else {one.name: one.key for one in artifacts},
        models={one.name: one.commit for one in models},
        prices=_prices(context),
        date=datetime.fromtimestamp(job.created, UTC).date().isoformat(),
        pools=_pools(run.spec),
        hardware=find_hardware(
            run.spec, namespace=job.namespace, pools=run.settings.pools, resources=run.settings.cpu_resources
        ),
    )


def _pools(spec: Spec) -> Pools:
    """Return the pools that serve each model: a stage's own pool takes precedence over its model's."""
    return Pools(
        teacher=spec.stages.generate.pool or teachers_pool(spec).name or "",
        student=spec.stages.evaluate.pool or spec.student.resources.pool or "",
    )


def _prices(context: ReconcileContext) -> Prices:
    """Return the US dollars per hour of each model's GPUs, at its pool's price."""
    run = context.run
    assert run is not None
    pools = _pools(run.spec)
    found = {
        teacher.name: price
        for teacher in run.spec.teachers
        if teacher.model is not None and (price := _price(context, pools.teacher, gpus=teacher.model.gpus)) is not None
    }
    student = _price(context, pools.student, gpus=1)
    if len(run.spec.teachers) > 1:
        return Prices(teachers=found, student=student)
    return Prices(teacher=found.get(run.spec.teachers[0].name), student=student)


def _price(context: ReconcileContext, pool: str, *, gpus: int) -> float | None:
    assert context.run is not None
    known = context.run.settings.pools.get(pool)
    price = known.price_per_gpu_hour if known is not None else None
    return None if price is None else price * gpus
