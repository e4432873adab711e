"""Log-probabilities over HTTP: what is asked for, and what is read of a server's ids and of a vendor's bytes."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from kubedistill.errors import InvalidInput
from kubedistill_runtime.endpoints.client import open_client
from kubedistill_runtime.endpoints.endpoint import Endpoint, Position, Reply, Token
from support.endpoint_calls import ASKED, KEY, SAMPLING, endpoint_of
from support.endpoint_server import EndpointServer, Reaction, Received, chat, problem

WANTED = replace(SAMPLING, k=2)
IDS = ("return_token_ids", "return_tokens_as_token_ids")


def token(text: str, logprob: float = -0.5, spelled: bytes | None = None, **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": None if spelled is None else list(spelled), **more}


def with_tokens(*content: dict[str, Any], ids: list[int] | None = None) -> dict[str, Any]:
    body = chat("a")
    body["choices"][0] |= {"logprobs": {"content": list(content)}, "token_ids": ids}
    return body | {"prompt_token_ids": [7, 8]}


VLLM = with_tokens(
    token("token_id:5", -0.25, b"a", top_logprobs=[token("token_id:5", -0.25), token("token_id:6", -2.0)]),
    token("token_id:1", -0.125, b"</s>", top_logprobs=[token("token_id:1", -0.125), token("token_id:9", -9999.0)]),
    ids=[5, 1],
)
OPENAI = with_tokens(token("a", -0.25, b"a", top_logprobs=[token("a", -0.25, b"a"), token("\\xe2", -2.0, b"\xe2")]))


def ask(endpoint: Endpoint, *, times: int = 1) -> list[Reply]:
    async def run() -> list[Reply]:
        async with open_client(endpoint, key=KEY) as client:
            return [await client.ask(ASKED, sampling=WANTED, seed=7) for _ in range(times)]

    return asyncio.run(run())


def test_ids_of_a_server_are_read(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=VLLM)
    (reply,) = ask(endpoint_of(server))
    assert reply.prompt_ids == (7, 8)
    first, second = Token(5, None, -0.25), Token(1, None, -0.125)
    assert reply.positions == (
        Position(first, (first, Token(6, None, -2.0))),
        Position(second, (second, Token(9, None, -9999.0))),
    )
    sent = server.received[0].body
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert all(sent[name] is True for name in IDS)


@pytest.mark.parametrize("api", ["OpenAI", "AzureOpenAI"])
def test_bytes_of_a_vendor_are_read(api: str, server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=OPENAI)
    (reply,) = ask(endpoint_of(server, api))
    drawn = Token(None, b"a", -0.25)
    assert reply.positions == (Position(drawn, (drawn, Token(None, b"\xe2", -2.0))),)


def test_ids_that_are_not_those_of_the_reply_are_text(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=with_tokens(token("token_id:5"), ids=[6]))
    (reply,) = ask(endpoint_of(server))
    assert reply.positions == (Position(Token(None, None, -0.5), ()),)


NOT_BYTES = {**token("a"), "bytes": [256]}


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": [{"token": "a"}]}, {"content": [NOT_BYTES]}, "x"]
)
def test_logprobs_in_another_form_leave_the_text(logprobs: Any, server: EndpointServer) -> None:
    body = chat("a")
    body["choices"][0]["logprobs"] = logprobs
    server.react = lambda _: Reaction(body=body)
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.finish, reply.positions) == ("a", "stop", ())


UNKNOWN = (
    problem("Unrecognized request arguments supplied: return_token_ids, return_tokens_as_token_ids"),
    problem("Unknown parameter: 'return_token_ids'.", code="unknown_parameter", param="return_token_ids"),
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "return_tokens_as_token_ids"]}]},
)


@pytest.mark.parametrize("refusal", UNKNOWN)
def test_a_vendor_is_asked_for_ids_once(
    refusal: dict[str, Any], server: EndpointServer, caplog: pytest.LogCaptureFixture
) -> None:
    def react(received: Received) -> Reaction:
        return Reaction(400, refusal) if IDS[0] in received.body else Reaction(body=OPENAI)

    server.react = react
    with caplog.at_level(logging.WARNING):
        replies = ask(endpoint_of(server), times=2)
    assert [(len(reply.positions), reply.detail) for reply in replies] == [(1, "")] * 2
    assert [[name in one.body for name in (*IDS, "logprobs")] for one in server.received] == [
        [True, True, True], [False, False, True], [False, False, True],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (403, problem("You are not allowed to request logprobs from this model")),
        (400, problem("Unsupported parameter: 'logprobs' is not supported with this model.", param="logprobs")),
        (400, problem("Requested sample logprobs of 2, which is greater than max allowed: 1", param="logprobs")),
        (400, problem("Invalid value for 'top_logprobs': must be at most 1.", param="top_logprobs")),
    ],
)
def test_a_model_that_gives_no_log_probabilities_ends_the_job(
    status: int, refusal: dict[str, Any], server: EndpointServer
) -> None:
    server.react = lambda received: Reaction(status, refusal) if "logprobs" in received.body else Reaction(body=OPENAI)
    with pytest.raises(InvalidInput) as refused:
        ask(endpoint_of(server))
    assert "tokenizer" in refused.value.fix
    assert "logprobs" in refused.value.problem
    assert len(server.received) == 1


def test_log_probabilities_are_asked_for_only_if_they_are_wanted(server: EndpointServer) -> None:
    async def run() -> Reply:
        async with open_client(endpoint_of(server), key=KEY) as client:
            return await client.ask(ASKED, sampling=SAMPLING, seed=7)

    assert asyncio.run(run()).positions == ()
    assert not {"logprobs", "top_logprobs", *IDS} & server.received[0].body.keys()
