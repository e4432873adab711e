"""A local HTTP server in the place of a teacher's endpoint: it answers chat completions and messages, with faults.

What it does with a request is a function of that request, so that a test scripts its faults as data.
"""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; `number` counts them from 0."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return self.body["messages"][-1]["content"]


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the server does with one request."""

    status: int = 200
    body: Any = None
    """JSON, or bytes that are sent as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Wait before the answer."""
    cut: bool = False
    """Send only half of the body, then close."""
    drop: bool = False
    """Close without an answer."""


React = Callable[[Received], Reaction]


def chat(text: str | None, *, finish: str = "stop", model: str = "teacher-1", **message: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "system_fingerprint": "fp_1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def message(text: str, *, stop: str = "end_turn", model: str = "teacher-1") -> dict[str, Any]:
    """Return the body of a message of Anthropic's API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def problem(text: str, *, code: str | None = None, param: str | None = None, kind: str = "invalid") -> dict[str, Any]:
    """Return the body of an error, which both APIs read."""
    return {"type": "error", "error": {"message": text, "type": kind, "param": param, "code": code}}


def echo(received: Received) -> Reaction:
    """Answer with the last message in capitals, in the form of the API that was called."""
    text = received.prompt.upper()
    return Reaction(body=message(text) if received.path.endswith("/messages") else chat(text))


@dataclass(slots=True)
class EndpointServer:
    """A server on loopback; `react` may be replaced while it runs."""

    react: React = echo
    tls: ssl.SSLContext | None = None
    port: int = 0
    received: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    keep: bool = True
    """Whether requests are remembered."""
    _count: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def serve(self, started: Callable[[], None]) -> None:
        """Answer until the task is canceled."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, ssl=self.tls, limit=2**22)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            started()
            await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(self._count, first.split()[1], headers, json.loads(body or b"{}"))
        self._count += 1
        if self.keep:
            self.received.append(received)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reaction = self.react(received)
            await asyncio.sleep(reaction.seconds)
        finally:
            self.in_flight -= 1
        return not reaction.drop and await _send(writer, reaction)


async def _send(writer: asyncio.StreamWriter, reaction: Reaction) -> bool:
    body = reaction.body if isinstance(reaction.body, bytes) else json.dumps(reaction.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **reaction.headers}
    head = f"HTTP/1.1 {reaction.status} Any\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    writer.write(head.encode() + b"\r\n" + (body[: len(body) // 2] if reaction.cut else body))
    await writer.drain()
    return not reaction.cut


@contextlib.contextmanager
def endpoint_server(react: React = echo, *, tls: ssl.SSLContext | None = None) -> Iterator[EndpointServer]:
    """Run a server in a thread of this process."""
    server, ready, loop = EndpointServer(react, tls), threading.Event(), asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        rest = asyncio.all_tasks(loop)
        for one in rest:
            one.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0.01))  # closed connections are released in the next turn of the loop
        loop.close()

    task = loop.create_task(server.serve(ready.set))
    thread = threading.Thread(target=run, name="endpoint-server")
    thread.start()
    try:
        if not ready.wait(_SECONDS):
            raise RuntimeError("the server did not start")
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(_SECONDS)
