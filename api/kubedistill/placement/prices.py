"""The prices of a job: what the GPUs of each model and of each stage cost in their pools."""

from collections.abc import Mapping

from kubedistill.chain import STAGES, StageName
from kubedistill.contract import Pools, Prices
from kubedistill.errors import InvalidManifest
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.layout import lay_out, teachers_pool
from kubedistill.v1alpha1 import Spec, unpriced_endpoint

_OTHER_LIMIT = "Set budget.gpuHours instead of dollars"


def pools_of_models(spec: Spec) -> Pools:
    """Return the pools that serve each model: a stage's own pool takes precedence over its model's."""
    return Pools(
        teacher=spec.stages.generate.pool or teachers_pool(spec).name or "",
        student=spec.stages.evaluate.pool or spec.student.resources.pool or "",
    )


def find_prices(spec: Spec, pools: Mapping[str, Pool]) -> Prices:
    """Return the US dollars per hour of each model's GPUs, at its pool's price."""
    named = pools_of_models(spec)
    pool = pools.get(named.teacher)
    served = {teacher.name: teacher.model.gpus for teacher in spec.teachers if teacher.model is not None}
    prices = {name: _price(pool, gpus=gpus) for name, gpus in served.items()}
    found = {name: price for name, price in prices.items() if price is not None}
    student = _price(pools.get(named.student), gpus=1)
    if len(spec.teachers) > 1:
        return Prices(teachers=found, student=student)
    return Prices(teacher=found.get(spec.teachers[0].name), student=student)


def price_stages(spec: Spec, *, namespace: str, pools: Mapping[str, Pool]) -> dict[StageName, float]:
    """Return the US dollars per hour of one GPU in each stage; 0 for a stage without GPUs.

    Raises InvalidManifest if a pool with GPUs or an endpoint has no price, and what lay_out raises.
    """
    if at := unpriced_endpoint(spec.teachers):
        raise InvalidManifest("budget.dollars needs it, and the run was started without", at=at, fix=_OTHER_LIMIT)
    found = dict.fromkeys(STAGES, 0.0)
    for stage in STAGES:
        layout = lay_out(stage, spec, namespace=namespace, pools=pools, resources=Resources())
        if layout.gpus:
            price = _price(pools.get(layout.pool or ""), gpus=1)
            if price is None:
                problem = f'{stage} uses GPUs of pool "{layout.pool}", which has no pricePerGpuHour'
                fix = f"{_OTHER_LIMIT}, or ask the platform team for the price"
                raise InvalidManifest(problem, at="spec.budget.dollars", fix=fix)
            found[stage] = price
    return found


def _price(pool: Pool | None, *, gpus: int) -> float | None:
    price = pool.price_per_gpu_hour if pool is not None else None
    return None if price is None else price * gpus
