"""An endpoint: where and how a teacher is asked over HTTP, and what it replies."""

from dataclasses import dataclass
from typing import Literal

from kubedistill.v1alpha1 import EndpointApi

Finish = Literal["stop", "length", "refused", "filtered", "too_long", "rejected", "failed", "other"]

FINISHES: dict[Finish, str] = {
    "stop": "the model ended its reply by itself",
    "length": "the reply was cut off at the limit of tokens",
    "refused": "the model declined to answer",
    "filtered": "a content filter of the endpoint stopped the prompt or the reply",
    "too_long": "the prompt and the limit of tokens do not fit into the model's context",
    "rejected": "the endpoint rejects the prompt for another reason",
    "failed": "the endpoint failed repeatedly with this prompt while it answered others",
    "other": "the endpoint ended the reply for a reason that this version does not know",
}
"""How a reply ends, and what it means; a reply's `detail` has the endpoint's own words."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The settings of an endpoint; the API key is not one of them, so that nothing shows it."""

    api: EndpointApi
    model: str
    """The model's name; with AzureOpenAI, the name of the deployment."""
    url: str
    api_version: str | None = None
    """Only AzureOpenAI has one."""
    max_in_flight: int = 16
    """Requests at a time."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Tokens of prompts and replies."""
    timeout_seconds: float = 300.0
    """The longest time to wait for one reply."""
    retry_seconds: float = 600.0
    """The longest time without any reply, after which the endpoint counts as not available."""
    at: str = ""
    """Field of the manifest that names the endpoint, for errors."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as an endpoint states it: by its id, by its bytes, or by both."""

    id: int | None
    text: bytes | None
    """None if the endpoint states none, as for a token that ends a reply."""
    logprob: float
    """In nats."""


@dataclass(frozen=True, slots=True)
class Position:
    """One generated token, and the most likely ones in its place."""

    drawn: Token
    top: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of an endpoint."""

    text: str
    """A client's replies are without reasoning, like those of served teachers."""
    finish: Finish
    model: str = ""
    """The model's name as the endpoint states it; empty if it states none."""
    fingerprint: str = ""
    """OpenAI's `system_fingerprint`, which changes with the backend; empty if there is none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 1
    """Requests that were sent, including those that failed."""
    detail: str = ""
    """The endpoint's own words about a finish other than stop and length, or which parameters were not sent."""
    prompt_ids: tuple[int, ...] = ()
    """The ids of the prompt; empty if the endpoint states none."""
    positions: tuple[Position, ...] = ()
    """The generated tokens, including reasoning; empty if no alternatives were asked for, or if there are none."""
