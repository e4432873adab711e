"""Adapters: one for each API of endpoints. To add one, write a file and add a row to ADAPTERS."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kubedistill.v1alpha1 import EndpointApi
from kubedistill_runtime.endpoints.anthropic_messages import open_anthropic
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from kubedistill_runtime.endpoints.openai_chat import open_azure, open_openai
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling


class Adapter(Protocol):
    """Sends one conversation to an endpoint, once."""

    async def ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Return the reply to messages; raises RequestFailed."""
        ...


class OpenAdapter(Protocol):
    """Opens the adapter of an API."""

    def __call__(self, endpoint: Endpoint, *, key: str) -> AbstractAsyncContextManager[Adapter]:
        """Return the adapter; its connections are closed when the context ends."""
        ...


ADAPTERS: Mapping[EndpointApi, OpenAdapter] = {
    "OpenAI": open_openai,
    "AzureOpenAI": open_azure,
    "Anthropic": open_anthropic,
}
