"""Interpreters: perform the effects of an operation over a transport, synchronously or asynchronously."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from kubedistill.client.request import (
    AsyncTransport,
    Effect,
    Emit,
    Found,
    Next,
    Open,
    Operation,
    Pause,
    Request,
    Transport,
    Values,
)
from kubedistill.errors import KubedistillError


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of an effect: an answer, or the error that replaces it."""

    answer: Any = None
    error: KubedistillError | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """The result of an operation that has ended."""

    value: Any


class Interpreter:
    """Run operations over a synchronous transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def run(self, operation: Operation[Found]) -> Found:
        """Return the result of an operation."""
        with contextlib.closing(_Execution(self.transport)) as execution:
            effect = _advance(operation, _Outcome())
            while not isinstance(effect, _Done):
                effect = _advance(operation, execution.perform(effect))
        return effect.value  # type: ignore[no-any-return]

    def stream(self, operation: Operation[Any]) -> Iterator[Any]:
        """Yield the values that an operation emits."""
        with contextlib.closing(_Execution(self.transport)) as execution:
            effect = _advance(operation, _Outcome())
            while not isinstance(effect, _Done):
                if isinstance(effect, Emit):
                    yield effect.value
                effect = _advance(operation, execution.perform(effect))


class AsyncInterpreter:
    """Run operations over an asynchronous transport."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport

    async def run(self, operation: Operation[Found]) -> Found:
        """Return the result of an operation."""
        async with contextlib.aclosing(_AsyncExecution(self.transport)) as execution:
            effect = _advance(operation, _Outcome())
            while not isinstance(effect, _Done):
                effect = _advance(operation, await execution.perform(effect))
        return effect.value  # type: ignore[no-any-return]

    async def stream(self, operation: Operation[Any]) -> AsyncIterator[Any]:
        """Yield the values that an operation emits."""
        async with contextlib.aclosing(_AsyncExecution(self.transport)) as execution:
            effect = _advance(operation, _Outcome())
            while not isinstance(effect, _Done):
                if isinstance(effect, Emit):
                    yield effect.value
                effect = _advance(operation, await execution.perform(effect))


def _advance(operation: Operation[Any], outcome: _Outcome) -> Effect | _Done:
    """Return the next effect; throw an error into the operation, which may handle it."""
    try:
        return operation.throw(outcome.error) if outcome.error is not None else operation.send(outcome.answer)
    except StopIteration as done:
        return _Done(done.value)


class _Execution:
    """Perform the effects of one operation; at most one watch is open at a time."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._watch: Iterator[Values] = iter(())

    def perform(self, effect: Effect) -> _Outcome:
        """Perform one effect, and return its answer or its error."""
        try:
            match effect:
                case Request():
                    return _Outcome(self._transport.send(effect))
                case Open():
                    self.close()
                    self._watch = self._transport.watch(effect.request)
                case Next():
                    return _Outcome(next(self._watch, None))
                case Pause():
                    time.sleep(effect.seconds)
                case Emit():
                    pass
        except KubedistillError as error:
            return _Outcome(error=error)
        return _Outcome()

    def close(self) -> None:
        """Close the watch, if one is open."""
        if (close := getattr(self._watch, "close", None)) is not None:
            close()


class _AsyncExecution:
    """Perform the effects of one operation asynchronously; at most one watch is open at a time."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._watch: AsyncIterator[Values] | None = None

    async def perform(self, effect: Effect) -> _Outcome:
        """Perform one effect, and return its answer or its error."""
        try:
            match effect:
                case Request():
                    return _Outcome(await self._transport.send(effect))
                case Open():
                    await self.aclose()
                    self._watch = self._transport.watch(effect.request)
                case Next():
                    return _Outcome(await anext(self._watch, None) if self._watch is not None else None)
                case Pause():
                    await asyncio.sleep(effect.seconds)
                case Emit():
                    pass
        except KubedistillError as error:
            return _Outcome(error=error)
        return _Outcome()

    async def aclose(self) -> None:
        """Close the watch, if one is open."""
        if (close := getattr(self._watch, "aclose", None)) is not None:
            await close()
