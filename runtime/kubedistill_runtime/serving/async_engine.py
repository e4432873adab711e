"""vLLM's asynchronous engine: several batches at once, so that it is never short of requests while one of them ends."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from kubedistill_runtime.serving.arguments import usage_context
from kubedistill_runtime.serving.batch_engine import Advance, Replies
from kubedistill_runtime.serving.engine import Completion, Sampling
from kubedistill_runtime.serving.processes import guard_children
from kubedistill_runtime.serving.vllm_requests import make_completion, sampling_parameters
from kubedistill_runtime.serving.written_errors import WrittenErrors

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Output = TypeVar("_Output")
_P = ParamSpec("_P")


@dataclass(slots=True)
class _Batch:
    """A batch in progress."""

    replies: Replies
    ended: Event = field(default_factory=Event)
    """Set when every request has its reply, or one has failed."""
    requests: "list[Future[None]]" = field(default_factory=list)
    error: Exception | None = None
    """That of the request that has failed."""


class AsyncEngine:
    """A BatchEngine on `AsyncLLM`; methods may be called by several threads.

    vLLM's own process runs the steps. If it dies, this process ends too, so that whoever waits learns of it; but if it
    dies of an error before the first reply, it refuses the model, and the error is raised.
    """

    def __init__(self, arguments: "AsyncEngineArgs", *, stop_ids: Sequence[int]) -> None:
        self._stop_ids = stop_ids
        self._batches: dict[int, _Batch] = {}
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="async-engine", daemon=True).start()
        self._generated = 0
        self._has_answered, self._written = False, WrittenErrors()
        self._llm: AsyncLLM = self._open(arguments)
        self._count_tokens()
        self._guard = guard_children()

    def start(
        self, batch: int, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], seconds: float
    ) -> Advance:
        """Begin a batch next to those in progress, and wait for it."""
        begun = self._batches[batch] = _Batch(Replies(len(prompts)))
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            parameters = sampling_parameters(sampling, seed=seed, stop_ids=self._stop_ids)
            reply = self._reply(f"{batch}-{place}", list(prompt), parameters, k=sampling.k)
            begun.requests.append(self._submit(self._add_reply(begun, place, reply)))
        return self.advance(batch, seconds=seconds)

    def advance(self, batch: int, *, seconds: float) -> Advance:
        """Wait until a batch is finished, or for these seconds; raises the error of a request that is refused."""
        begun = self._batches[batch]
        if begun.ended.wait(seconds):
            del self._batches[batch]
            if begun.error is not None:
                self._cancel(begun)
                raise begun.error
        return begun.replies.advance(generated=self._generated)

    def abort(self, batch: int) -> None:
        """Give up a batch; the others continue."""
        if (begun := self._batches.pop(batch, None)) is not None:
            self._cancel(begun)

    def load_weights(self, path: str) -> None:
        """Load the weights of another folder of the same architecture."""
        self._submit(self._llm.collective_rpc("reload_weights", kwargs={"weights_path": path})).result()

    def close(self) -> None:
        """Stop the engine and its process."""
        self._llm.shutdown()
        self._guard.kill()
        self._guard.wait()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _open(self, arguments: "AsyncEngineArgs") -> "AsyncLLM":
        """Start vLLM; an error of its own process becomes the cause of the error that it raises here."""
        try:
            return self._submit(_make(arguments)).result()
        except RuntimeError as error:
            if error.__cause__ is None and (cause := self._written.last()) is not None:
                raise error from cause
            raise

    def _count_tokens(self) -> None:
        """Count what each step of the engine generates, of which a request reports nothing before its end.

        vLLM's own statistics count that too, but write it to Prometheus at each step.
        """
        processor = self._llm.output_processor
        processor.process_outputs = self._counting(processor.process_outputs)

    def _counting(
        self, process: Callable[Concatenate[list[_Output], _P], _T]
    ) -> Callable[Concatenate[list[_Output], _P], _T]:
        def count(outputs: list[_Output], /, *arguments: _P.args, **options: _P.kwargs) -> _T:
            self._generated += len(outputs)
            return process(outputs, *arguments, **options)

        return count

    def _submit(self, work: Coroutine[None, None, _T]) -> "Future[_T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _cancel(self, batch: _Batch) -> None:
        for request in batch.requests:
            request.cancel()

    async def _add_reply(self, batch: _Batch, place: int, reply: Coroutine[None, None, Completion]) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            batch.replies.add(place, await reply)
            self._has_answered = True
        except EngineDeadError as error:
            cause = None if self._has_answered else self._written.last()
            if cause is None:
                log.exception("the engine's process died")
                os._exit(1)  # an actor that only raised would live on with a dead engine
            error.__cause__ = cause
            batch.error = error
        except Exception as error:  # of the request: whoever advances the batch raises it
            batch.error = error
        if batch.error is not None or batch.replies.complete:
            batch.ended.set()

    async def _reply(self, name: str, prompt: list[int], parameters: "SamplingParams", *, k: int) -> Completion:
        async for output in self._llm.generate({"prompt_token_ids": prompt}, parameters, name):
            if output.finished:
                return make_completion(output, k=k)
        raise RuntimeError(f"request {name} ended without a reply")


async def _make(arguments: "AsyncEngineArgs") -> "AsyncLLM":
    """Start an engine in the event loop of its requests."""
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(arguments, usage_context=usage_context())
