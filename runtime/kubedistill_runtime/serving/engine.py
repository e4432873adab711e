"""What a stage may ask of an inference engine, whichever engine it is."""

import datetime
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.answers import TopK
from kubedistill_runtime.models import Model


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn; temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    k: int = 0
    """Alternatives reported per token; at 0 the drawn token's log-probability alone."""
    ignore_end: bool = False
    """Go on to max_tokens whatever is drawn, so that every reply has one length."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply as the engine gave it."""

    ids: tuple[int, ...]
    """Generated ids, the stop token included where there is one."""
    finish: str
    """stop or length."""
    top: TopK | None = None
    logprobs_T: NDArray[np.float32] | None = None
    """Log-probability of each generated id in nats; None where the engine gives none."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How an engine is to be started for a model."""

    model: Model
    max_model_len: int
    dtype: str = "Float32"
    k: int = 0
    """Most alternatives that will be asked for."""
    stop_ids: tuple[int, ...] = ()
    quantization: str | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    date: datetime.date | None = None
    """Today, where the model's template asks for it."""
    at: str = ""
    """Field of the manifest that names the model, for errors."""

    @property
    def gpus(self) -> int:
        """GPUs that the engine takes, where there are any."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


class Engine(Protocol):
    """A started engine."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """Answer prompts (as ids), in their order; the same prompts, sampling and seeds give the same ids.

        Raises EngineLost when the engine dies, and InvalidModel or ModelDoesNotFit where it can't serve the model.
        """
        ...

    def load_weights(self, model: Model) -> None:
        """Put the weights of another model of the same architecture in place of those that are loaded."""
        ...

    def peak_bytes(self) -> int:
        """Return the most memory that the engine's process ever held, in bytes."""
        ...


class Engines(Protocol):
    """What starts engines and workers, one engine at a time; nothing starts before it is asked for."""

    def warm(self) -> None:
        """Hear that an engine will soon be needed."""
        ...

    def open(self, serving: Serving) -> AbstractContextManager[Engine]:
        """Start an engine; it is stopped, and its memory given back, when the context ends."""
        ...

    def hardware(self, *, gpus: int) -> str:
        """Return what an engine of so many GPUs runs on: "2 x NVIDIA H200", or a processor and its cores."""
        ...

    def start_ray(self) -> None:
        """Make sure that a Ray session is there, for Ray Train."""
        ...

    def gpus(self) -> int:
        """GPUs of the Ray session; 0 where there is none yet."""
        ...
