"""Prices: what answers cost, by the hour of the hardware that gave the figures, or by the token of an endpoint."""

from dataclasses import dataclass

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill.v1alpha1 import Teacher, TokenPrices
from kubedistill_runtime.evaluation.statistics import quotient


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model's hardware, and what it is for; or the prices of an endpoint's tokens."""

    per_hour: float | None = None
    """US dollars per hour."""
    pool: str = ""
    gpus: int = 1
    tokens: TokenPrices | None = None


def teacher_price(teacher: Teacher, *, job: StageJob) -> Price:
    """Return the price of a teacher."""
    if teacher.model is None:
        return Price(tokens=teacher.endpoint.prices if teacher.endpoint else None)
    return Price(job.prices.of_teacher(teacher.name), job.pools.teacher, teacher.model.gpus)


def student_price(job: StageJob) -> Price:
    """Return the price of the student."""
    return Price(job.prices.student, job.pools.student)


def cost_per_thousand(figures: ServingFigures | EndpointFigures, price: Price) -> float | None:
    """Return the cost of 1,000 answers in US dollars; None if not known."""
    if isinstance(figures, EndpointFigures):
        return _cost_of_tokens(figures, price.tokens)
    return cost_at(hourly_price(figures, price), figures)


def cost_at(price: float | None, figures: ServingFigures) -> float | None:
    """Return the cost of 1,000 answers at saturation, from US dollars per hour; None if it is not a finite number."""
    return None if price is None else quotient(price * 1000, figures.throughput_per_hour)


def _cost_of_tokens(figures: EndpointFigures, prices: TokenPrices | None) -> float | None:
    if prices is None or not figures.answers:
        return None
    dollars = prices.dollars(prompt_tokens=figures.prompt_tokens, completion_tokens=figures.completion_tokens)
    return dollars / figures.answers * 1000


def hourly_price(figures: ServingFigures, price: Price) -> float | None:
    """Return US dollars per hour of the hardware that the figures were measured on; None if not known."""
    return None if why_unpriced(figures, price) else price.per_hour


def why_unpriced(figures: ServingFigures | EndpointFigures, price: Price) -> str:
    """Return why a price does not apply to these figures; empty if it does, or if there is no price."""
    if isinstance(figures, EndpointFigures) or price.per_hour is None:
        return ""
    if figures.pool != price.pool:
        return f"measured in {_pool(figures.pool)}, but the price is for {_pool(price.pool)}"
    if figures.gpus not in (0, price.gpus):
        return f"measured on {figures.gpus} GPUs, but the price is for {price.gpus}"
    return ""


def _pool(name: str) -> str:
    return f"pool {name}" if name else "no pool"
