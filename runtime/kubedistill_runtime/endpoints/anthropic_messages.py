"""Messages: Anthropic's API, and every server that has it, such as vLLM; it has no seed and no fingerprint."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import anthropic
import httpx2
from pydantic import BaseModel, ValidationError

from kubedistill.json_values import JsonObject
from kubedistill_runtime.endpoints.endpoint import Endpoint, Finish, Reply
from kubedistill_runtime.endpoints.failures import RequestFailed
from kubedistill_runtime.endpoints.transport import Transport
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling

_URL = "https://api.anthropic.com"
_FINISHES: dict[str | None, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class _Block(BaseModel):
    type: str
    text: str = ""


class _Usage(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt; `input_tokens` leaves out those of the cache."""
        return self.input_tokens + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)


class _Message(BaseModel):
    """The parts of a message that are read."""

    content: list[_Block]
    stop_reason: str | None = None
    model: str | None = None
    usage: _Usage | None = None


@dataclass(slots=True)
class AnthropicMessages:
    """Asks for messages."""

    transport: Transport
    model: str

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
        return _read(await self.transport.post("/v1/messages", values))


def _read(body: bytes) -> Reply:
    """Return the reply in a body; raises RequestFailed if it is not a message."""
    try:
        message = _Message.model_validate_json(body)
    except ValidationError as error:
        raise RequestFailed("Unusable", f"not a message: {error.errors()[0]['msg']}") from None
    finish, usage = _FINISHES.get(message.stop_reason, "other"), message.usage or _Usage()
    return Reply(
        "".join(block.text for block in message.content if block.type == "text"),
        finish,
        message.model or "",
        "",
        usage.prompt_tokens,
        usage.output_tokens,
        detail="" if finish in ("stop", "length") else f"stop_reason is {message.stop_reason}",
    )


@contextlib.asynccontextmanager
async def open_anthropic(endpoint: Endpoint, *, key: str) -> AsyncIterator[AnthropicMessages]:
    """Open a client of Anthropic's API."""
    http = anthropic.DefaultAioHttpClient(follow_redirects=False)  # another host must not get the key
    async with anthropic.AsyncAnthropic(
        api_key=key, base_url=endpoint.url or _URL, max_retries=0, timeout=endpoint.timeout_seconds, http_client=http
    ) as client:
        transport = Transport(
            lambda path, values: client.post(path, cast_to=httpx2.Response, body=values),
            anthropic.APIStatusError,
            anthropic.APIConnectionError,
            key,
        )
        yield AnthropicMessages(transport, endpoint.model)
