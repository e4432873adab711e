"""Chat completions: OpenAI, Azure OpenAI, and every server or gateway with OpenAI's API, such as vLLM."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import httpx2
import openai
from pydantic import BaseModel, Field

from kubedistill.finish_reasons import ENDS, FAILURES
from kubedistill.json_values import JsonObject
from kubedistill_runtime.endpoints.bodies import Count, Flag, Forgiving, Part, Words, join_text, read_body
from kubedistill_runtime.endpoints.endpoint import Endpoint, Finish, Position, Reply, Token
from kubedistill_runtime.endpoints.failures import ID_PARAMETERS, RequestFailed
from kubedistill_runtime.endpoints.parameters import Parameters
from kubedistill_runtime.endpoints.transport import Transport
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling

_ID = "token_id:"
"""What vLLM writes before an id that it gives in the place of a token's text."""


class _Message(BaseModel):
    content: str | list[Part] | None = None
    """Mistral's reasoning models give parts, of which the text is the answer."""
    refusal: Words = None


class _Filter(BaseModel):
    filtered: Flag = None


class _Token(BaseModel):
    token: str
    logprob: float
    text: Annotated[list[Annotated[int, Field(ge=0, le=255)]] | None, Field(alias="bytes")] = None

    def read(self, *, has_ids: bool) -> Token:
        """Return the token; a server that gives ids writes them in the place of its text."""
        token_id = self.token.removeprefix(_ID) if has_ids else ""
        text = None if has_ids or self.text is None else bytes(self.text)
        return Token(int(token_id) if token_id.isdecimal() else None, text, self.logprob)


class _Position(_Token):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Position]


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: Annotated[_Logprobs | None, Forgiving] = None
    token_ids: Annotated[list[int] | None, Forgiving] = None
    """Of vLLM, with the ids of reasoning and of the token that ends the reply."""
    content_filter_results: Annotated[dict[str, Annotated[_Filter | None, Forgiving]] | None, Forgiving] = None


class _Usage(BaseModel):
    prompt_tokens: Count = None
    completion_tokens: Count = None


class _Completion(BaseModel):
    """The parts of a chat completion that are read; servers differ in all others."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Annotated[_Usage | None, Forgiving] = None
    model: Words = None
    system_fingerprint: Words = None
    prompt_token_ids: Annotated[list[int] | None, Forgiving] = None


@dataclass(slots=True)
class OpenAIChat:
    """Asks for chat completions."""

    transport: Transport
    model: str
    parameters: Parameters = field(default_factory=Parameters)

    async def ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Return the reply to messages; raises RequestFailed."""
        values: JsonObject = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "temperature": sampling.temperature,
            "seed": seed,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.top_p < 1:
            values["top_p"] = sampling.top_p
        if sampling.k:
            values |= {"logprobs": True, "top_logprobs": sampling.k, **dict.fromkeys(ID_PARAMETERS, True)}
        if sampling.constraint is not None:
            assert sampling.constraint.json_schema is not None, "choices.py refuses other forms for endpoints"
            schema = {"name": "answer", "strict": True, "schema": json.loads(sampling.constraint.json_schema)}
            values["response_format"] = {"type": "json_schema", "json_schema": schema}
        body = await self.transport.post_adapted("/chat/completions", values, parameters=self.parameters)
        return self.parameters.annotate(_read(body))


def _read(body: bytes) -> Reply:
    """Return the reply in a body; raises RequestFailed if it is not a chat completion."""
    completion = read_body(body, form=_Completion, what="chat completion")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    reason = (choice.finish_reason or "").lower()
    if reason in FAILURES:
        raise RequestFailed("ServerError", f"finish_reason is {choice.finish_reason}")
    finish: Finish = ENDS.get(reason, "other")
    filtered = [name for name, one in (choice.content_filter_results or {}).items() if one and one.filtered]
    detail = ", ".join(filtered) if finish == "filtered" else ""
    if choice.message.refusal:
        finish, detail = "refused", choice.message.refusal
    elif finish == "other":
        detail = f"finish_reason is {choice.finish_reason}"
    return Reply(
        join_text(choice.message.content),
        finish,
        completion.model or "",
        completion.system_fingerprint or "",
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
        detail=detail,
        prompt_ids=tuple(completion.prompt_token_ids or ()),
        positions=_read_positions(choice),
    )


def _read_positions(choice: _Choice) -> tuple[Position, ...]:
    """Return the tokens of a reply, by their ids if the server gives one for each of them."""
    content = choice.logprobs.content if choice.logprobs else []
    has_ids = choice.token_ids is not None and [_ID + str(one) for one in choice.token_ids] == [
        one.token for one in content
    ]
    return tuple(
        Position(one.read(has_ids=has_ids), tuple(top.read(has_ids=has_ids) for top in one.top_logprobs))
        for one in content
    )


@contextlib.asynccontextmanager
async def open_openai(endpoint: Endpoint, *, key: str) -> AsyncIterator[OpenAIChat]:
    """Open a client of OpenAI's API."""
    http = openai.DefaultAioHttpClient(follow_redirects=False)  # another host must not get the key
    async with openai.AsyncOpenAI(
        api_key=key, base_url=endpoint.url, max_retries=0, timeout=endpoint.timeout_seconds, http_client=http
    ) as client:
        yield OpenAIChat(_transport(client, key=key), endpoint.model)


@contextlib.asynccontextmanager
async def open_azure(endpoint: Endpoint, *, key: str) -> AsyncIterator[OpenAIChat]:
    """Open a client of Azure OpenAI; the URL is the resource's, and the model is the deployment."""
    http = openai.DefaultAioHttpClient(follow_redirects=False)
    async with openai.AsyncAzureOpenAI(
        api_key=key,
        azure_endpoint=endpoint.url,
        api_version=endpoint.api_version,
        max_retries=0,
        timeout=endpoint.timeout_seconds,
        http_client=http,
    ) as client:
        yield OpenAIChat(_transport(client, key=key), endpoint.model)


def _transport(client: openai.AsyncOpenAI, *, key: str) -> Transport:
    return Transport(
        lambda path, values: client.post(path, cast_to=httpx2.Response, body=values),
        openai.APIStatusError,
        openai.APIConnectionError,
        key,
    )
