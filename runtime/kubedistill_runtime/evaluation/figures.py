"""Figures: size, speed and price of an arm, which may be several teachers together."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill.sums import sum_known


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """Size, speed and price of an arm; None for what is not known. The fields are those of the report's Arm."""

    hardware: str
    parameters: int | None = None
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    latency_seconds: float | None = None
    latency_p95_seconds: float | None = None
    first_token_seconds: float | None = None
    token_seconds: float | None = None
    throughput_per_hour: float | None = None
    cost_per_thousand: float | None = None


def figures_of(
    figures: ServingFigures | EndpointFigures, *, parameters: int | None, cost_per_thousand: float | None
) -> ModelFigures:
    """Return the figures of one model, with its cost in US dollars for 1,000 answers."""
    if isinstance(figures, EndpointFigures):
        return ModelFigures(
            hardware=figures.endpoint,
            latency_seconds=figures.latency_seconds,
            latency_p95_seconds=figures.latency_p95_seconds,
            cost_per_thousand=cost_per_thousand,
        )
    return ModelFigures(
        hardware=figures.hardware,
        parameters=parameters,
        memory_bytes=figures.memory_bytes,
        peak_memory_bytes=figures.peak_memory_bytes,
        latency_seconds=figures.latency_seconds,
        latency_p95_seconds=figures.latency_p95_seconds,
        first_token_seconds=figures.first_token_seconds,
        token_seconds=figures.token_seconds,
        throughput_per_hour=figures.throughput_per_hour,
        cost_per_thousand=cost_per_thousand,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One of several teachers that are one arm."""

    figures: ModelFigures
    records: frozenset[str]
    """Ids of the records that it answered."""
    digest: str
    """The digest of the model; two teachers may be one model."""


def combine(parts: Sequence[Part]) -> ModelFigures:
    """Return the figures of several teachers as one arm.

    Sizes are sums over different models, since all of them must be served; time and cost are means over the records.
    Where several answer one record, its cost is that of all of them and its time, since they answer at once, that of
    the slowest. Percentiles and throughput can't be combined.
    """
    figures = [part.figures for part in parts]
    models = {part.digest: part.figures for part in parts}.values()
    records = frozenset[str]().union(*(part.records for part in parts))
    groups = [[part.figures for part in parts if record in part.records] for record in sorted(records)]
    groups = groups or [[one] for one in figures]
    return ModelFigures(
        hardware=" + ".join(dict.fromkeys(one.hardware for one in figures)),
        parameters=sum_known([one.parameters for one in models]),
        memory_bytes=sum_known([one.memory_bytes for one in models]),
        peak_memory_bytes=sum_known([one.peak_memory_bytes for one in models]),
        latency_seconds=_mean([_slowest([one.latency_seconds for one in group]) for group in groups]),
        cost_per_thousand=_mean([sum_known([one.cost_per_thousand for one in group]) for group in groups]),
    )


def _slowest(times: Sequence[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _mean(values: Sequence[float | None]) -> float | None:
    total = sum_known(values)
    return None if total is None else total / len(values)
