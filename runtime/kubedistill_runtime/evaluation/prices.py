"""Prices: a price applies only to figures from its own hardware, not to older figures from elsewhere."""

from typing import Literal

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import ServingFigures

Priced = Literal["teacher", "student"]


def price_of(name: Priced, figures: ServingFigures, *, job: StageJob) -> float | None:
    """Return US dollars per hour of the hardware that the figures were measured on; None if not known."""
    price: float | None = getattr(job.prices, name)
    return None if why_unpriced(name, figures, job=job) else price


def why_unpriced(name: Priced, figures: ServingFigures, *, job: StageJob) -> str:
    """Return why the job's price does not apply to these figures; empty if it does, or if there is no price."""
    if getattr(job.prices, name) is None:
        return ""
    pool = getattr(job.pools, name)
    if figures.pool != pool:
        return f"measured in {_pool(figures.pool)}, but the price is for {_pool(pool)}"
    model = job.spec.teachers[0].model
    gpus = model.tensor_parallel_size * model.pipeline_parallel_size if name == "teacher" else 1
    if figures.gpus not in (0, gpus):
        return f"measured on {figures.gpus} GPUs, but the price is for {gpus}"
    return ""


def _pool(name: str) -> str:
    return f"pool {name}" if name else "no pool"
