"""Requests: what the objects of an attempt are built from, taken from the context."""

from datetime import UTC, datetime

from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.placement.hardware import find_hardware
from kubedistill.placement.prices import find_prices, pools_of_models
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
        prices=find_prices(run.spec, run.settings.pools),
        date=datetime.fromtimestamp(job.created, UTC).date().isoformat(),
        pools=pools_of_models(run.spec),
        hardware=find_hardware(
            run.spec, namespace=job.namespace, pools=run.settings.pools, resources=run.settings.cpu_resources
        ),
    )
