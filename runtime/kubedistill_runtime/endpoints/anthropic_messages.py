"""Messages: Anthropic's API, and every server that has it, such as vLLM; it has no seed and no fingerprint."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Annotated

import anthropic
import httpx2
from pydantic import BaseModel

from kubedistill.json_values import JsonObject
from kubedistill_runtime.endpoints.bodies import Count, Forgiving, Part, Words, join_text, read_body
from kubedistill_runtime.endpoints.endpoint import Endpoint, Finish, Reply
from kubedistill_runtime.endpoints.parameters import Parameters
from kubedistill_runtime.endpoints.transport import Transport
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling

_FINISHES: dict[str | None, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class _Usage(BaseModel):
    input_tokens: Count = None
    output_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt; `input_tokens` leaves out those of the cache."""
        counts = (self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens)
        return sum(count or 0 for count in counts)


class _Message(BaseModel):
    """The parts of a message that are read."""

    content: list[Part]
    stop_reason: str | None = None
    model: Words = None
    usage: Annotated[_Usage | None, Forgiving] = None


@dataclass(slots=True)
class AnthropicMessages:
    """Asks for messages."""

    transport: Transport
    model: str
    parameters: Parameters = field(default_factory=Parameters)

    async def ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Return the reply to messages; raises RequestFailed. The API draws without a seed."""
        del seed
        system = list(takewhile(lambda message: message.role == "system", messages))
        values: JsonObject = {
            "model": self.model,
            "messages": [{"role": one.role, "content": one.content} for one in messages[len(system) :]],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if system:
            values["system"] = "\n\n".join(message.content for message in system)
        if sampling.top_p < 1:
            values["top_p"] = sampling.top_p
        body = await self.transport.post_adapted("/v1/messages", values, parameters=self.parameters)
        return self.parameters.annotate(_read(body))


def _read(body: bytes) -> Reply:
    """Return the reply in a body; raises RequestFailed if it is not a message."""
    message = read_body(body, form=_Message, what="message")
    finish, usage = _FINISHES.get(message.stop_reason, "other"), message.usage or _Usage()
    return Reply(
        join_text(message.content),
        finish,
        message.model or "",
        "",
        usage.prompt_tokens,
        usage.output_tokens or 0,
        detail="" if finish in ("stop", "length") else f"stop_reason is {message.stop_reason}",
    )


@contextlib.asynccontextmanager
async def open_anthropic(endpoint: Endpoint, *, key: str) -> AsyncIterator[AnthropicMessages]:
    """Open a client of Anthropic's API."""
    http = anthropic.DefaultAioHttpClient(follow_redirects=False)  # another host must not get the key
    async with anthropic.AsyncAnthropic(
        api_key=key, base_url=endpoint.url, max_retries=0, timeout=endpoint.timeout_seconds, http_client=http
    ) as client:
        transport = Transport(
            lambda path, values: client.post(path, cast_to=httpx2.Response, body=values),
            anthropic.APIStatusError,
            anthropic.APIConnectionError,
            key,
        )
        yield AnthropicMessages(transport, endpoint.model)
