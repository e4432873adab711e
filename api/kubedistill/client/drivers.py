"""Drivers: carry a script's steps out over a transport, synchronously or not."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from kubedistill.client.request import (
    AsyncTransport,
    Found,
    Next,
    Open,
    Pause,
    Request,
    Script,
    Show,
    Step,
    Transport,
    Values,
)
from kubedistill.errors import KubedistillError


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a step: an answer, or the error in its place."""

    answer: Any = None
    error: KubedistillError | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    value: Any


class Driver:
    """Runs scripts over a synchronous transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def run(self, script: Script[Found]) -> Found:
        """A script's result."""
        with contextlib.closing(_Performance(self.transport)) as performance:
            step = _advance(script, _Outcome())
            while not isinstance(step, _Done):
                step = _advance(script, performance.perform(step))
        return step.value  # type: ignore[no-any-return]

    def stream(self, script: Script[Any]) -> Iterator[Any]:
        """What a script shows, as it is shown."""
        with contextlib.closing(_Performance(self.transport)) as performance:
            step = _advance(script, _Outcome())
            while not isinstance(step, _Done):
                if isinstance(step, Show):
                    yield step.value
                step = _advance(script, performance.perform(step))


class AsyncDriver:
    """Runs scripts over an asynchronous transport."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport

    async def run(self, script: Script[Found]) -> Found:
        """A script's result."""
        async with contextlib.aclosing(_AsyncPerformance(self.transport)) as performance:
            step = _advance(script, _Outcome())
            while not isinstance(step, _Done):
                step = _advance(script, await performance.perform(step))
        return step.value  # type: ignore[no-any-return]

    async def stream(self, script: Script[Any]) -> AsyncIterator[Any]:
        """What a script shows, as it is shown."""
        async with contextlib.aclosing(_AsyncPerformance(self.transport)) as performance:
            step = _advance(script, _Outcome())
            while not isinstance(step, _Done):
                if isinstance(step, Show):
                    yield step.value
                step = _advance(script, await performance.perform(step))


def _advance(script: Script[Any], outcome: _Outcome) -> Step | _Done:
    """The next step of a script; it is told of an error, since it knows which ones it can live with."""
    try:
        return script.throw(outcome.error) if outcome.error is not None else script.send(outcome.answer)
    except StopIteration as done:
        return _Done(done.value)


class _Performance:
    """One script's steps, and the watch that it has open."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._watch: Iterator[Values] = iter(())

    def perform(self, step: Step) -> _Outcome:
        try:
            match step:
                case Request():
                    return _Outcome(self._transport.send(step))
                case Open():
                    self.close()
                    self._watch = self._transport.watch(step.request)
                case Next():
                    return _Outcome(next(self._watch, None))
                case Pause():
                    time.sleep(step.seconds)
                case Show():
                    pass
        except KubedistillError as error:
            return _Outcome(error=error)
        return _Outcome()

    def close(self) -> None:
        if (close := getattr(self._watch, "close", None)) is not None:
            close()


class _AsyncPerformance:
    """The same, asynchronously."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._watch: AsyncIterator[Values] | None = None

    async def perform(self, step: Step) -> _Outcome:
        try:
            match step:
                case Request():
                    return _Outcome(await self._transport.send(step))
                case Open():
                    await self.aclose()
                    self._watch = self._transport.watch(step.request)
                case Next():
                    return _Outcome(await anext(self._watch, None) if self._watch is not None else None)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Show():
                    pass
        except KubedistillError as error:
            return _Outcome(error=error)
        return _Outcome()

    async def aclose(self) -> None:
        if (close := getattr(self._watch, "aclose", None)) is not None:
            await close()
