"""Prices: what answers cost, by the hour of the hardware that gave the figures, or by the token of an endpoint."""

from typing import Literal

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill_runtime.evaluation.statistics import quotient

Priced = Literal["teacher", "student"]


def cost_per_thousand(name: Priced, figures: ServingFigures | EndpointFigures, *, job: StageJob) -> float | None:
    """Return the cost of 1,000 answers in US dollars; None if not known."""
    if isinstance(figures, EndpointFigures):
        return _cost_of_tokens(figures, job=job)
    return cost_at(price_of(name, figures, job=job), figures)


def cost_at(price: float | None, figures: ServingFigures) -> float | None:
    """Return the cost of 1,000 answers at saturation, from US dollars per hour; None if it is not a finite number."""
    return None if price is None else quotient(price * 1000, figures.throughput_per_hour)


def _cost_of_tokens(figures: EndpointFigures, *, job: StageJob) -> float | None:
    endpoint = job.spec.teachers[0].endpoint
    if endpoint is None or endpoint.prices is None or not figures.answers:
        return None
    dollars = figures.prompt_tokens * endpoint.prices.input + figures.completion_tokens * endpoint.prices.output
    return dollars / 1e6 / figures.answers * 1000


def price_of(name: Priced, figures: ServingFigures, *, job: StageJob) -> float | None:
    """Return US dollars per hour of the hardware that the figures were measured on; None if not known."""
    price: float | None = getattr(job.prices, name)
    return None if why_unpriced(name, figures, job=job) else price


def why_unpriced(name: Priced, figures: ServingFigures | EndpointFigures, *, job: StageJob) -> str:
    """Return why the job's price does not apply to these figures; empty if it does, or if there is no price."""
    if isinstance(figures, EndpointFigures) or getattr(job.prices, name) is None:
        return ""
    pool = getattr(job.pools, name)
    if figures.pool != pool:
        return f"measured in {_pool(figures.pool)}, but the price is for {_pool(pool)}"
    model = job.spec.teachers[0].model
    gpus = model.gpus if name == "teacher" and model is not None else 1
    if figures.gpus not in (0, gpus):
        return f"measured on {figures.gpus} GPUs, but the price is for {gpus}"
    return ""


def _pool(name: str) -> str:
    return f"pool {name}" if name else "no pool"
