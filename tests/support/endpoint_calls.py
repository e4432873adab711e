"""Calls of an endpoint as the runtime makes them, and the faults of one that may pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kubedistill.errors import KubedistillError
from kubedistill_runtime.endpoints.client import Client, open_client
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling
from support.endpoint_server import EndpointServer, Reaction, Received, chat, echo, problem

KEY = "sk-canary-4f7a91c2"
AT = "spec.teachers[0].endpoint"
SAMPLING = Sampling(temperature=0.5, max_tokens=32)
ASKED = (Message("system", "Be kind."), Message("user", "hello"))
APIS = ("OpenAI", "AzureOpenAI", "Anthropic")


def endpoint_of(server: EndpointServer, api: Any = "OpenAI", **settings: Any) -> Endpoint:
    url = f"{server.url}/v1" if api == "OpenAI" else server.url
    version = "2024-10-21" if api == "AzureOpenAI" else None
    return Endpoint(api, "teacher", url, version, at=AT, **{"timeout_seconds": 5.0, "retry_seconds": 2.0} | settings)


def ask(endpoint: Endpoint, *prompts: str, quick: bool = True) -> list[Reply]:
    """Ask prompts at once, or the usual one; `quick` makes every wait a hundred times shorter."""

    async def run() -> list[Reply]:
        async with open_client(endpoint, key=KEY) as client:
            if quick:
                client.sleep = lambda seconds: asyncio.sleep(seconds / 100)
            asked = [(Message("user", prompt),) for prompt in prompts] or [ASKED]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.ask(one, sampling=SAMPLING, seed=7)) for one in asked]
            return [task.result() for task in tasks]

    try:
        return asyncio.run(run())
    except* KubedistillError as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def in_turn(*reactions: Reaction, then: Callable[[Received], Reaction] = echo) -> Callable[[Received], Reaction]:
    """Return a script: the reactions one after another, then always the last function's."""
    left = iter(reactions)
    return lambda received: next(left, None) or then(received)


def act_on(endpoint: Endpoint, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """Run a function of an open client."""

    async def run() -> Any:
        async with open_client(endpoint, key=KEY) as client:
            return await act(client)

    return asyncio.run(run())


EMPTY = {**chat("x"), "choices": []}
NOT_JSON = Reaction(body=b"<html>Bad gateway</html>", headers={"content-type": "text/html"})
PASSING = {
    "429 with Retry-After": Reaction(429, problem("slow down"), {"retry-after": "1"}),
    "429 without": Reaction(429, problem("slow down", code="rate_limit_exceeded")),
    "500": Reaction(500, problem("oops")),
    "503, and not JSON": Reaction(503, b"upstream error"),
    "529": Reaction(529, problem("Overloaded", kind="overloaded_error")),
    "408": Reaction(408, problem("timeout")),
    "not JSON": NOT_JSON,
    "JSON of another kind": Reaction(body={"object": "list", "data": []}),
    "half of a body": Reaction(body=chat("x" * 1000), cut=True),
    "no choice": Reaction(body=EMPTY),
    "no answer": Reaction(drop=True),
}
