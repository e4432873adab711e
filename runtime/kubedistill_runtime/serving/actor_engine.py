"""An engine whose work is done by an actor of Ray, in a process that may die and be started again."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
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
from kubedistill_runtime.serving.engine import Completion, Sampling, Serving, Watch

if TYPE_CHECKING:
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.5
"""How often a batch can be watched and stopped."""
_HANG_SECONDS = 3600.0
"""Longer than any reply takes."""


class UsingActor(Protocol):
    """Yields the actor for calls, and starts it if there is none; raises EngineLost if it dies of the calls."""

    def __call__(self, serving: Serving) -> AbstractContextManager["ActorHandle"]:
        """Yield an actor with the GPUs of an engine."""
        ...


class ActorEngine:
    """An engine in an actor; if the actor dies, the next call starts both again."""

    def __init__(
        self,
        serving: Serving,
        *,
        using_actor: UsingActor,
        made_tokens: Callable[[], None],
        report: Report = no_report,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serving, self._using_actor, self._report, self._clock = serving, using_actor, report, clock
        self._made_tokens, self._generated = made_tokens, 0
        self._opened_in: ActorHandle | None = None
        self._opening = Lock()
        self._batches = count()
        self._finished = clock()

    @property
    def lanes(self) -> int:
        """The number of batches that may be given to it at the same time."""
        return self._serving.lanes

    def start(self) -> None:
        """Start the actor and the engine in it, if they don't run."""
        with self._started_actor():
            pass

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], watch: Watch
    ) -> list[Completion]:
        """Answer prompts, as in Engine."""
        import ray

        with self._started_actor() as actor:
            batch, replies = next(self._batches), 0
            self._finished = self._clock()
            reached: Advance = ray.get(
                actor.generate.remote(batch, prompts, sampling=sampling, seeds=seeds, seconds=_SLICE_SECONDS)
            )
            self._note_tokens(reached)
            while reached.completions is None:
                if reached.replies > replies:
                    replies, self._finished = reached.replies, self._clock()
                self._check_alive()
                try:
                    watch(reached.replies, reached.tokens)
                except BaseException:
                    ray.get(actor.abort.remote(batch))
                    raise
                reached = ray.get(actor.advance.remote(batch, seconds=_SLICE_SECONDS))
                self._note_tokens(reached)
            return reached.completions

    def _note_tokens(self, reached: Advance) -> None:
        """Report tokens since the last report; an engine that was started again counts from 0."""
        if reached.generated != self._generated:
            self._generated = reached.generated
            self._made_tokens()

    def _check_alive(self) -> None:
        """Raise EngineLost if no batch has got a reply for so long that the engine must hang."""
        if self._clock() - self._finished > _HANG_SECONDS:
            problem = f"the inference engine has finished no reply for {_HANG_SECONDS / 60:.0f} minutes"
            raise EngineLost(problem, at=self._serving.model.source, fix="Start again")

    def load_weights(self, model: Model) -> None:
        """Replace the weights, also for an engine that is started later."""
        import ray

        with self._started_actor() as actor:
            folder = materialize_for_actor(model, actor, report=self._report)
            ray.get(actor.load_weights.remote(str(folder)))
        self._serving = replace(self._serving, model=model)

    def peak_bytes(self) -> int:
        """Return the peak memory of the engine's process, in bytes."""
        peak: int = self._call("peak_bytes")
        return peak

    def close(self) -> None:
        """Stop the engine and release its memory; the actor stays, unless it has died."""
        if self._opened_in is None:
            return
        if self.lanes == 1:
            self._opened_in.close.remote()  # takes 2 s; its next call waits for that
        else:
            with contextlib.suppress(EngineLost):
                self._call("close")
        self._opened_in = None

    def _call(self, method: str, *arguments: Any) -> Any:
        import ray

        with self._started_actor() as actor:
            return ray.get(getattr(actor, method).remote(*arguments))

    @contextmanager
    def _started_actor(self) -> Iterator["ActorHandle"]:
        """Yield the actor for calls, and start the engine in it before if that is necessary."""
        actor: ActorHandle | None = None
        try:
            with self._using_actor(self._serving) as actor:
                self._open_in(actor)
                yield actor
        except EngineLost:
            with self._opening:
                if self._opened_in is actor:  # else another call has opened it in a new one already
                    self._opened_in = None
            raise

    def _open_in(self, actor: "ActorHandle") -> None:
        import ray

        with self._opening:
            if self._opened_in is not actor:
                model = {"model": self._serving.model.source}
                log.info("engine starting", extra=model)
                folder = materialize_for_actor(self._serving.model, actor, report=self._report)
                ray.get(actor.open.remote(replace(self._serving, model=replace(self._serving.model, path=folder))))
                log.info("engine ready", extra=model)
                self._made_tokens()  # the first one shows that it is ready
                self._opened_in = actor
