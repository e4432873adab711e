"""Figures: size, speed and price of an arm, which may be several teachers together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill.contract.artifacts import EndpointFigures, ServingFigures


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


def combine(parts: Sequence[tuple[float, ModelFigures]]) -> ModelFigures:
    """Return the figures of several teachers as one, given the share of the answers that each gave.

    Sizes are sums, since all teachers must be served; time and cost of an answer are those that each teacher's share
    adds up to. Shares add up to more than 1 where several answer one record: then the cost is that of all of them, and
    the time, since they answer at once, that of the slowest. Percentiles and throughput can't be combined.
    """

    def total(read: Callable[[ModelFigures], float | None], *, weigh: bool) -> float | None:
        values = [(share if weigh else 1.0, read(figures)) for share, figures in parts]
        known = [weight * value for weight, value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def whole(value: float | None) -> int | None:
        return None if value is None else int(value)

    times = [figures.latency_seconds for _, figures in parts]
    slowest = max((time for time in times if time is not None), default=None) if None not in times else None
    together = sum(share for share, _ in parts) > 1 + 1e-9
    return ModelFigures(
        hardware=" + ".join(dict.fromkeys(figures.hardware for _, figures in parts)),
        parameters=whole(total(lambda one: one.parameters, weigh=False)),
        memory_bytes=whole(total(lambda one: one.memory_bytes, weigh=False)),
        peak_memory_bytes=whole(total(lambda one: one.peak_memory_bytes, weigh=False)),
        latency_seconds=slowest if together else total(lambda one: one.latency_seconds, weigh=True),
        cost_per_thousand=total(lambda one: one.cost_per_thousand, weigh=True),
    )
