"""The prices of a job: what the GPUs of each model cost in its pool."""

from collections.abc import Mapping

from kubedistill.contract import Pools, Prices
from kubedistill.manifest.settings import Pool
from kubedistill.placement.layout import teachers_pool
from kubedistill.v1alpha1 import Spec


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


def _price(pool: Pool | None, *, gpus: int) -> float | None:
    price = pool.price_per_gpu_hour if pool is not None else None
    return None if price is None else price * gpus
