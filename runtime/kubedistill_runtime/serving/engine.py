"""The interface of inference engines."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kubedistill.contract import Hardware
from kubedistill.errors import EngineLost
from kubedistill.json_values import JsonObject
from kubedistill_runtime.answers import TopK
from kubedistill_runtime.hub import Report, no_report
from kubedistill_runtime.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """The form that replies are forced into while they are generated; one of its fields is set."""

    choices: tuple[str, ...] = ()
    regex: str | None = None
    json_schema: str | None = None
    """As a JSON object in a string."""

    def values(self) -> JsonObject:
        """Return what determines the replies, for keys."""
        return {"choices": self.choices, "regex": self.regex, "jsonSchema": self.json_schema}


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling of replies; temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    k: int = 0
    """Alternatives reported per token; with 0, only the drawn token's log-probability."""
    ignore_end: bool = False
    """Continue to max_tokens whatever is drawn, so that all replies have the same length."""
    constraint: Constraint | None = None
    """None: replies are free."""

    def extra_values(self) -> JsonObject:
        """Return the constraint for keys; empty without one, so that keys of free replies stay as they are."""
        return {} if self.constraint is None else {"constraint": self.constraint.values()}


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply of an engine."""

    ids: tuple[int, ...]
    """Generated ids, including the stop token, if any."""
    finish: str
    """stop or length."""
    top: TopK | None = None
    logprobs_T: NDArray[np.float32] | None = None
    """Log-probability of each generated id in nats; None if the engine reports none."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The settings to start an engine for a model."""

    model: Model
    max_model_len: int
    dtype: str = "Float32"
    k: int = 0
    """The largest number of alternatives in any request."""
    stop_ids: tuple[int, ...] = ()
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    """vLLM's name of the precision of the cache on GPUs; None: the model's own."""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    expert_parallel: bool = False
    gpu_memory_utilization: float | None = None
    """Fraction of each GPU's memory that the engine uses; None: vLLM's default."""
    engine_arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Further arguments of vLLM on GPUs."""
    constraint: Constraint | None = None
    """The form that replies may be forced into; an engine without one needs no tokenizer."""
    date: datetime.date | None = None
    """Today's date, if the model's template asks for it."""
    hardware: Hardware = field(default_factory=Hardware)
    """Where the engine runs."""
    at: str = ""
    """Field of the manifest that names the model, for errors."""

    replicas: int = 1
    """Copies of the engine that share the prompts."""
    lanes: int = 1
    """Batches that each copy answers at the same time; replies repeat only where there is one."""

    @property
    def gpus(self) -> int:
        """GPUs that one copy of the engine uses, if there are any."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


class NoEngine(EngineLost):
    """The inference engine can't be started again, whatever it is asked."""

    reason = "EngineLost"


Watch = Callable[[int, int], None]
"""Receives the numbers of finished replies and of their tokens; it may raise an error, which ends the batch."""


def ignore(_replies: int, _tokens: int) -> None:
    """Watch nothing."""


Worked = Callable[[int, int], None]
"""Receives the number of a replica that has made tokens, and the number of its GPUs."""


def no_account(_replica: int, _gpus: int) -> None:
    """Count nothing."""


class Engine(Protocol):
    """A started engine."""

    @property
    def lanes(self) -> int:
        """The number of batches that it answers at the same time."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the same prompts, sampling and seeds in one batch give the same ids, whatever else it answers."""
        ...

    def start(self) -> None:
        """Start it, if it does not run; otherwise the first batch does. Raises what generate raises."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        watch: Watch = ignore,
        alone: bool = False,
    ) -> list[Completion]:
        """Answer prompts (as ids), in their order; `watch` is called about each second.

        More threads than there are lanes may call it; then some wait. With `alone`, the engine answers nothing else
        meanwhile, so that a crash has one cause. Raises EngineLost if the engine dies, NoEngine if no other one can
        be started, and InvalidModel or ModelDoesNotFit if it can't serve the model.
        """
        ...

    def load_weights(self, model: Model) -> None:
        """Replace the weights by those of another model of the same architecture."""
        ...

    def peak_bytes(self) -> int:
        """Return the peak memory of the engine's process, in bytes."""
        ...


class OpenEngine(Protocol):
    """Opens an engine, as Engines.open does."""

    def __call__(
        self, serving: Serving, *, report: Report = no_report, worked: Worked = no_account
    ) -> AbstractContextManager[Engine]:
        """Yield an engine for a model."""
        ...


class Engines(Protocol):
    """Starts engines and workers on demand, one engine at a time."""

    def warm(self) -> None:
        """Prepare for an engine that will be needed soon."""
        ...

    def open(
        self, serving: Serving, *, report: Report = no_report, worked: Worked = no_account
    ) -> AbstractContextManager[Engine]:
        """Start an engine; when the context ends, it is stopped and its memory is released.

        `report` receives the progress of the download of its weights, `worked` whatever makes tokens.
        """
        ...

    def hardware(self, *, gpus: int) -> str:
        """Return the hardware of an engine with this number of GPUs: "2 x NVIDIA H200", or a processor and cores."""
        ...

    def start_ray(self) -> None:
        """Start a Ray session for Ray Train, unless there is one."""
        ...

    def gpus(self) -> int | None:
        """Return the number of GPUs of the Ray session; None if there is no session."""
        ...
