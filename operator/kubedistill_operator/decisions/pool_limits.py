"""Pool limits: how many GPUs of a pool the jobs of one namespace may hold at a time, without a queue."""

from dataclasses import dataclass

from kubedistill.chain import STAGES, StageName
from kubedistill.errors import TooFewGPUs
from kubedistill.manifest.settings import Resources, Settings
from kubedistill.placement.layout import lay_out
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.decisions.context import ReconcileContext


@dataclass(frozen=True, slots=True)
class HeldGPUs:
    """The GPUs that an attempt holds, and their pool; empty for a stage without GPUs."""

    pool: str = ""
    gpus: int = 0


def held_gpus(context: ReconcileContext, stage: StageName) -> HeldGPUs:
    """Return the GPUs that an attempt at a stage of the run holds."""
    run = context.run
    assert run is not None, "an attempt belongs to a run"
    layout = lay_out(stage, run.spec, namespace=context.job.namespace, pools=run.settings.pools, resources=Resources())
    return HeldGPUs(layout.pool or "", layout.gpus) if layout.gpus else HeldGPUs()


def describe_pool_shortage(context: ReconcileContext) -> str:
    """Return why the current stage must wait for other jobs of its namespace; empty if it need not.

    The limit comes from the current settings, so that a change applies to runs that have started too.
    """
    wanted = held_gpus(context, context.chain_stage.name)
    pool = context.settings.pools.get(wanted.pool)
    limit = pool.max_gpus_per_namespace if pool is not None else None
    held = context.observed.gpus_in_namespace.get(wanted.pool, 0)
    if limit is None or held + wanted.gpus <= limit:
        return ""
    others = f'other jobs of namespace "{context.job.namespace}" hold {held} GPUs of pool "{wanted.pool}"'
    return f"{others}, this stage needs {wanted.gpus}, and the limit is {limit}"


def check_pool_limits(spec: Spec, *, namespace: str, settings: Settings) -> None:
    """Raise TooFewGPUs if a single stage needs more GPUs than the jobs of a namespace may hold."""
    for stage in STAGES:
        layout = lay_out(stage, spec, namespace=namespace, pools=settings.pools, resources=Resources())
        limit = settings.pools[layout.pool].max_gpus_per_namespace if layout.pool else None
        if limit is not None and layout.gpus > limit:
            problem = f'{stage} needs {layout.gpus} GPUs of pool "{layout.pool}", and a namespace may hold {limit}'
            raise TooFewGPUs(problem, at=layout.field, fix="Ask for fewer, or name another pool")
