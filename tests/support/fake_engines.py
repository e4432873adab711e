"""Engines that are functions: what they reply depends on prompt, seed and sampling alone, and nothing is started."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from kubedistill.errors import EngineLost
from kubedistill_runtime.answers import TopK
from kubedistill_runtime.hub import Report, no_report
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.engine import Completion, Sampling, Serving, Watch, Worked, ignore, no_account
from kubedistill_runtime.weights import materialize

Reply = Callable[[Sequence[int], int], Sequence[int]]
"""The ids of a reply to (prompt ids, seed), without a stop token."""


def spell(prompt: Sequence[int], seed: int) -> list[int]:
    """Between one and eight ordinary ids, drawn by a hash of prompt and seed."""
    drawn = hashlib.sha256(f"{list(prompt)}/{seed}".encode()).digest()
    return [40 + byte for byte in drawn[1 : 2 + drawn[0] % 8]]


@dataclass(slots=True)
class FunctionEngine:
    """Replies as the function says, ends each reply with the stop id, and writes down what it was asked."""

    reply: Reply = spell
    stop_id: int = 4
    dies_at: int | None = None
    """The number of the batch, from 1, at which it is lost, once."""
    crashes: int = 0
    """How many of the first batches it is lost at."""
    deadly: tuple[int, ...] = ()
    """A prompt that it is lost at whenever it is asked."""
    batches: list[list[tuple[int, ...]]] = field(default_factory=list)
    seeds: list[list[int]] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    """Sources of the models whose weights were loaded into it."""
    alone: list[bool] = field(default_factory=list)
    """Whether each batch was to be the only one."""
    lanes: int = 1
    repeats: bool = True
    _lane: Lock = field(default_factory=Lock)

    def start(self) -> None:
        pass

    @property
    def asked(self) -> list[tuple[int, ...]]:
        """All prompts, in their order."""
        return [prompt for batch in self.batches for prompt in batch]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        watch: Watch = ignore,
        alone: bool = False,
    ) -> list[Completion]:
        self.alone.append(alone)
        with self._lane:
            return self._generate(prompts, sampling=sampling, seeds=seeds, watch=watch)

    def _generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], watch: Watch
    ) -> list[Completion]:
        watch(0, 0)
        self.batches.append([tuple(prompt) for prompt in prompts])
        self.seeds.append(list(seeds))
        if len(self.batches) in (self.dies_at, *range(1, self.crashes + 1)) or (
            self.deadly and self.deadly in self.batches[-1]
        ):
            raise EngineLost("the engine was told to die", at="test", fix="Start again")
        return [self._complete(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _complete(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> Completion:
        ids = (*self.reply(prompt, seed if sampling.temperature else 0), self.stop_id)
        if sampling.ignore_end:
            ids = (*ids, *ids * sampling.max_tokens)
        finish = "stop" if len(ids) <= sampling.max_tokens else "length"
        ids = ids[: sampling.max_tokens]
        top = None
        if sampling.k:
            ids_TK = np.array(ids, np.int32)[:, None] + np.arange(sampling.k, dtype=np.int32)
            top = TopK(ids_TK, np.full(ids_TK.shape, -2.0, np.float16), np.full(len(ids), 0.25, np.float32))
        return Completion(ids, finish, top, np.full(len(ids), -0.5, np.float32))

    def load_weights(self, model: Model) -> None:
        self.loaded.append(model.source)

    def peak_bytes(self) -> int:
        return 2**20


@dataclass(slots=True)
class FunctionEngines:
    """Opens the one engine that it is given; `opened` counts how often."""

    engine: FunctionEngine = field(default_factory=FunctionEngine)
    held: int | None = None
    """GPUs; None without a session."""
    opened: int = 0
    warmed: int = 0
    machine: str = "a function"

    def warm(self) -> None:
        self.warmed += 1

    @contextlib.contextmanager
    def open(
        self, serving: Serving, *, report: Report = no_report, worked: Worked = no_account
    ) -> Iterator[FunctionEngine]:
        self.opened += 1
        materialize(serving.model, report=report)
        worked(0, serving.gpus)
        yield self.engine

    def hardware(self, *, gpus: int) -> str:
        return self.machine

    def start_ray(self) -> None:
        raise AssertionError("one worker on a CPU needs no Ray")

    def gpus(self) -> int | None:
        return self.held

    def close(self) -> None:
        pass
