"""Limits of pools: how many GPUs of a pool the jobs of one namespace may hold at a time, where no queue says it."""

from dataclasses import dataclass

from kubedistill.chain import STAGES, StageName
from kubedistill.errors import TooFewGPUs
from kubedistill.manifest.settings import Resources, Settings
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.layout import lay_out
from kubedistill_operator.decisions.context import ReconcileContext


@dataclass(frozen=True, slots=True)
class Holding:
    """The GPUs that an attempt holds, and the pool that they are of; none and empty for a stage without GPUs."""

    pool: str = ""
    gpus: int = 0


def holding(context: ReconcileContext, stage: StageName) -> Holding:
    """What an attempt at a stage of the run holds."""
    run = context.run
    assert run is not None, "an attempt belongs to a run"
    layout = lay_out(stage, run.spec, namespace=context.job.namespace, pools=run.settings.pools, resources=Resources())
    return Holding(layout.pool or "", layout.gpus) if layout.gpus else Holding()


def lack_of_room(context: ReconcileContext) -> str:
    """Why the current stage must wait for other jobs of its namespace; empty where it need not.

    The limit is the settings' of this moment, so that a change acts on runs that have started too.
    """
    wanted = holding(context, context.chain_stage.name)
    pool = context.settings.pools.get(wanted.pool)
    limit = pool.max_gpus_per_namespace if pool is not None else None
    held = context.observed.gpus_in_namespace.get(wanted.pool, 0)
    if limit is None or held + wanted.gpus <= limit:
        return ""
    others = f'other jobs of namespace "{context.job.namespace}" hold {held} GPUs of pool "{wanted.pool}"'
    return f"{others}, this stage needs {wanted.gpus}, and {limit} is the most"


def check_pool_limits(spec: Spec, *, namespace: str, settings: Settings) -> None:
    """Raise TooFewGPUs where a stage alone needs more GPUs than the jobs of a namespace may hold."""
    for stage in STAGES:
        layout = lay_out(stage, spec, namespace=namespace, pools=settings.pools, resources=Resources())
        limit = settings.pools[layout.pool].max_gpus_per_namespace if layout.pool else None
        if limit is not None and layout.gpus > limit:
            problem = f'{stage} needs {layout.gpus} GPUs of pool "{layout.pool}", and a namespace may hold {limit}'
            raise TooFewGPUs(problem, at=layout.field, fix="Ask for fewer, or name another pool")
