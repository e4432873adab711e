"""An engine whose work is done by an actor of Ray, in a process that may die and be started again."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from kubedistill.errors import EngineLost
from kubedistill_runtime.hub import Report, no_report
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.batch_engine import Advance
from kubedistill_runtime.serving.downloads import materialize_for_actor
from kubedistill_runtime.serving.engine import Completion, Sampling, Serving, Watch, ignore

if TYPE_CHECKING:
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.5
"""How often a batch can be watched and stopped."""


class UsingActor(Protocol):
    """Yields the actor for calls, and starts it if there is none; raises EngineLost if it dies of the calls."""

    def __call__(self, *, gpus: int, at: str) -> AbstractContextManager["ActorHandle"]:
        """Yield an actor that reserves `gpus` GPUs; `at` is the place for errors."""
        ...


class ActorEngine:
    """An engine in the actor; if the actor dies, the next call starts both again."""

    lanes = 1
    repeats = True

    def __init__(self, serving: Serving, *, using_actor: UsingActor, report: Report = no_report) -> None:
        self._serving, self._using_actor, self._report = serving, using_actor, report
        self._opened = False
        self._turn = Lock()
        self._batches = count()

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], watch: Watch = ignore
    ) -> list[Completion]:
        """Answer prompts, as in Engine."""
        import ray

        with self._turn, self._started_actor() as actor:
            batch = next(self._batches)
            reached: Advance = ray.get(
                actor.generate.remote(batch, prompts, sampling=sampling, seeds=seeds, seconds=_SLICE_SECONDS)
            )
            while reached.completions is None:
                try:
                    watch(reached.replies, reached.tokens)
                except BaseException:
                    ray.get(actor.abort.remote(batch))
                    raise
                reached = ray.get(actor.advance.remote(batch, seconds=_SLICE_SECONDS))
            return reached.completions

    def load_weights(self, model: Model) -> None:
        """Replace the weights, also for an engine that is started later."""
        import ray

        with self._turn, self._started_actor() as actor:
            folder = materialize_for_actor(model, actor, report=self._report)
            ray.get(actor.load_weights.remote(str(folder)))
        self._serving = replace(self._serving, model=model)

    def peak_bytes(self) -> int:
        """Return the peak memory of the engine's process, in bytes."""
        peak: int = self._call("peak_bytes")
        return peak

    def close(self) -> None:
        """Stop the engine and release its memory; the actor stays."""
        if self._opened:
            self._call("close")
            self._opened = False

    def _call(self, method: str, *arguments: Any) -> Any:
        import ray

        with self._turn, self._started_actor() as actor:
            return ray.get(getattr(actor, method).remote(*arguments))

    @contextmanager
    def _started_actor(self) -> Iterator["ActorHandle"]:
        """Yield the actor for calls, and start the engine in it before if that is necessary."""
        import ray

        try:
            with self._using_actor(gpus=self._serving.gpus, at=self._serving.model.source) as actor:
                if not self._opened:
                    model = {"model": self._serving.model.source}
                    log.info("engine starting", extra=model)
                    folder = materialize_for_actor(self._serving.model, actor, report=self._report)
                    ray.get(actor.open.remote(replace(self._serving, model=replace(self._serving.model, path=folder))))
                    log.info("engine ready", extra=model)
                    self._opened = True
                yield actor
        except EngineLost:
            self._opened = False
            raise
