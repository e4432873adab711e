"""Faults of an endpoint, on a real local server: which end the job, which are asked again, for how long."""

import asyncio
import itertools
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from kubedistill.errors import (
    BadCredentials,
    EndpointUnavailable,
    InvalidInput,
    InvalidModel,
    KubedistillError,
    QuotaExhausted,
)
from kubedistill_runtime.endpoints.client import Client
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from support.endpoint_calls import APIS, ASKED, AT, KEY, PASSING, SAMPLING, act_on, ask, endpoint_of, in_turn
from support.endpoint_server import EndpointServer, Reaction, Received, chat, echo, problem
from support.messages import CheckMessage, check_facts


def google(code: int, text: str) -> list[dict[str, Any]]:
    """Return the body of an error of Google's API, a list."""
    return [{"error": {"code": code, "message": text, "status": "ANY"}}]


# What ends the job at once


@pytest.mark.parametrize(
    ("api", "status", "body", "kind", "word"),
    [
        ("OpenAI", 401, problem("Incorrect API key provided", code="invalid_api_key"), BadCredentials, "401"),
        ("Anthropic", 403, problem("not allowed", kind="permission_error"), BadCredentials, "403"),
        ("OpenAI", 429, problem("You exceeded your quota", code="insufficient_quota"), QuotaExhausted, "quota"),
        ("Anthropic", 400, problem("Your credit balance is too low"), QuotaExhausted, "credit"),
        ("Anthropic", 402, problem("pay", kind="billing_error"), QuotaExhausted, "402"),
        ("OpenAI", 404, problem("The model `teacher` does not exist"), InvalidModel, "teacher"),
        ("AzureOpenAI", 404, problem("The API deployment does not exist"), InvalidModel, "deployment"),
        ("OpenAI", 400, google(400, "API key not valid. Please pass a valid API key."), BadCredentials, "API key"),
        ("OpenAI", 404, google(404, "models/teacher is not found for API version v1main"), InvalidModel, "v1main"),
        ("OpenAI", 404, {"detail": "Not Found"}, InvalidInput, "404"),
        ("OpenAI", 307, b"", InvalidInput, "307"),
        ("OpenAI", 400, problem("only 1 is supported", param="temperature"), InvalidInput, "supported"),
        ("AzureOpenAI", 400, problem("'required' must have every key", param="response_format"), InvalidInput, "key"),
        ("OpenAI", 400, problem("This response_format type is unavailable now"), InvalidInput, "unavailable"),
        ("OpenAI", 400, problem("The provided JSON schema has features without support"), InvalidInput, "features"),
    ],
)
def test_what_no_request_can_change_ends_the_job_at_once(
    api: str, status: int, body: Any, kind: type[KubedistillError], word: str, server: EndpointServer,
    check_message: CheckMessage,
) -> None:  # fmt: skip
    headers = {"location": "http://127.0.0.1:9/stolen"} if status < 400 else {}
    server.react = lambda _: Reaction(status, body, headers)
    with pytest.raises(kind) as refused:
        ask(endpoint_of(server, api))
    assert type(refused.value) is kind
    check_message(refused.value, AT, word)
    assert len(server.received) == 1, "no retry storm"


def test_what_waits_for_its_turn_is_not_sent_after_the_end(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(401, problem("wrong key"), seconds=0.05)
    endpoint = endpoint_of(server, max_in_flight=2)

    async def act(client: Client) -> list[Reply | BaseException]:
        asked = (client.ask(ASKED, sampling=SAMPLING, seed=number) for number in range(12))
        return await asyncio.gather(*asked, return_exceptions=True)

    ends = act_on(endpoint, act)
    assert {type(end) for end in ends} == {BadCredentials}
    assert len(server.received) <= 3, "two at a time, and one that took the place of the first"


# What may pass


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_asked_again(fault: str, api: str, server: EndpointServer) -> None:
    server.react = in_turn(PASSING[fault], PASSING[fault])
    (reply,) = ask(endpoint_of(server, api))
    assert (reply.finish, reply.text, reply.requests) == ("stop", "HELLO", 3)


@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_is_an_outage_after_the_budget(fault: str, server: EndpointServer) -> None:
    server.react = lambda _: PASSING[fault]
    started = time.monotonic()
    with pytest.raises(EndpointUnavailable) as refused:
        ask(endpoint_of(server, retry_seconds=0.5))
    check_facts(refused.value, AT, "0.5 s")
    assert time.monotonic() - started < 30, "bounded"


def test_a_request_that_hangs_is_given_up_and_asked_again(server: EndpointServer) -> None:
    server.react = in_turn(Reaction(seconds=60, body=chat("late")))
    (reply,) = ask(endpoint_of(server, timeout_seconds=0.5))
    assert (reply.text, reply.requests) == ("HELLO", 2)


def test_an_endpoint_that_hangs_is_an_outage(server: EndpointServer, check_message: CheckMessage) -> None:
    server.react = lambda _: Reaction(seconds=60, body=chat("late"))
    with pytest.raises(EndpointUnavailable) as refused:
        ask(endpoint_of(server, timeout_seconds=0.2, retry_seconds=0.5))
    check_message(refused.value, AT, "0.2 s")


def test_a_port_that_nobody_listens_to_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(EndpointUnavailable):
        ask(Endpoint("OpenAI", "teacher", f"http://127.0.0.1:{port}/v1", at=AT, retry_seconds=0.3))


@pytest.mark.parametrize("fault", [PASSING["500"], PASSING["not JSON"], PASSING["no choice"]], ids=str)
def test_a_row_that_fails_while_others_are_answered_ends_alone(fault: Reaction, server: EndpointServer) -> None:
    server.react = lambda one: fault if "bad" in one.prompt else replace(echo(one), seconds=0.05)
    replies = ask(endpoint_of(server, max_in_flight=2), "bad", *(f"good {number}" for number in range(30)))
    assert [reply.finish for reply in replies] == ["failed", *["stop"] * 30]
    assert replies[0].requests == 5
    assert replies[0].detail


def test_a_limit_of_requests_is_never_the_fault_of_a_row(server: EndpointServer) -> None:
    faults = itertools.count()
    busy = PASSING["429 without"]
    server.react = lambda one: busy if "late" in one.prompt and next(faults) < 12 else replace(echo(one), seconds=0.02)
    replies = ask(endpoint_of(server, max_in_flight=2), "late", *(f"good {number}" for number in range(30)))
    assert {reply.finish for reply in replies} == {"stop"}
    assert replies[0].requests == 13


def test_while_nothing_is_answered_one_request_at_a_time_asks_again(server: EndpointServer) -> None:
    server.react = lambda _: PASSING["500"]
    with pytest.raises(EndpointUnavailable):
        ask(endpoint_of(server, max_in_flight=16, retry_seconds=4), *map(str, range(64)), quick=False)
    assert len(server.received) <= 64 + 16 + 5 + 8, "64 that were waiting already, and then one at a time"


# Errors in a successful response


def reported(code: int | None, text: str = "Provider returned error", **error: Any) -> dict[str, Any]:
    """Return the body of a gateway that reports an error with status 200."""
    return {"error": {"message": text, "code": code, **error}, "user_id": "u1"}


@pytest.mark.parametrize(
    ("api", "body", "kind"),
    [
        ("OpenAI", reported(401, "No auth credentials found"), BadCredentials),
        ("OpenAI", reported(402, "Insufficient credits"), QuotaExhausted),
        ("OpenAI", reported(404, "No endpoints found for the model x"), InvalidModel),
        ("Anthropic", problem("invalid x-api-key", kind="authentication_error"), BadCredentials),
    ],
)
def test_an_error_in_a_successful_response_ends_the_job_like_its_status(
    api: str, body: Any, kind: type[KubedistillError], server: EndpointServer
) -> None:
    server.react = lambda _: Reaction(body=body)
    with pytest.raises(kind) as refused:
        ask(endpoint_of(server, api))
    assert type(refused.value) is kind
    assert len(server.received) == 1, "no retry storm"


@pytest.mark.parametrize(
    ("body", "finish"),
    [
        (reported(400, "maximum context length is 10 tokens"), "too_long"),
        (reported(400, "bad character"), "rejected"),
        (reported(400, "flagged", type="content_filter"), "filtered"),
    ],
)
def test_an_error_in_a_successful_response_ends_its_row_like_its_status(
    body: Any, finish: str, server: EndpointServer
) -> None:
    server.react = lambda one: Reaction(body=body) if "bad" in one.prompt else echo(one)
    replies = ask(endpoint_of(server), "bad", "good")
    assert [(reply.finish, reply.requests) for reply in replies] == [(finish, 1), ("stop", 1)]
    assert body["error"]["message"] in replies[0].detail


CUT = {
    **chat("par", finish="error"),
    "choices": [{**chat("par", finish="error")["choices"][0], "error": {"code": 502}}],
}


@pytest.mark.parametrize("body", [reported(429), reported(502), reported(None), {"error": "busy"}, CUT], ids=str)
def test_an_error_in_a_successful_response_may_pass_like_its_status(body: Any, server: EndpointServer) -> None:
    server.react = in_turn(Reaction(body=body), Reaction(body=body))
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.requests) == ("HELLO", 3)


@pytest.mark.parametrize("error", [None, {}, ""])
def test_a_reply_with_an_empty_error_is_a_reply(error: Any, server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body={**chat("fine"), "error": error})
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.requests) == ("fine", 1)


def test_the_key_is_not_in_an_error_of_a_successful_response(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=reported(401, f"wrong key {KEY}"))
    with pytest.raises(BadCredentials) as refused:
        ask(endpoint_of(server))
    assert KEY not in str(refused.value)


def test_the_words_of_an_error_in_a_list_are_shown_alone(server: EndpointServer) -> None:
    server.react = lambda one: Reaction(400, google(400, "No such role")) if "bad" in one.prompt else echo(one)
    replies = ask(endpoint_of(server), "bad", "good")
    assert [(reply.finish, reply.detail) for reply in replies] == [("rejected", "HTTP 400: No such role"), ("stop", "")]


@pytest.mark.parametrize("body", [[], [1], [[]], [{}], {"error": [{"message": "x"}]}], ids=str)
def test_an_error_in_any_list_is_of_some_kind(body: Any, server: EndpointServer) -> None:
    server.react = lambda one: Reaction(400, body) if "bad" in one.prompt else echo(one)
    assert [reply.finish for reply in ask(endpoint_of(server), "bad", "good")] == ["rejected", "stop"]


# Replies without an answer


@pytest.mark.parametrize(
    ("text", "finish"), [(None, "length"), ("", "stop"), ("<think>hm", "length"), ("yes", "tool_calls"), ("yes", None)]
)
def test_an_endpoint_that_gives_no_answer_is_not_paid_for_all_prompts(
    text: str | None, finish: Any, server: EndpointServer, check_message: CheckMessage
) -> None:
    server.react = lambda _: Reaction(body=chat(text, finish=finish))
    with pytest.raises(InvalidInput) as refused:
        ask(endpoint_of(server, max_in_flight=4), *(f"prompt {number}" for number in range(60)))
    check_message(refused.value, AT, 16)
    assert len(server.received) <= 16 + 4


@pytest.mark.parametrize(
    ("text", "finish"), [("cut", "length"), (None, "content_filter"), (None, "length")], ids=["cut", "filtered", "most"]
)
def test_replies_that_concern_only_their_rows_do_not_end_the_job(
    text: str | None, finish: str, server: EndpointServer
) -> None:
    def react(one: Received) -> Reaction:
        return (
            echo(one) if finish == "length" and "prompt 5" in one.prompt else Reaction(body=chat(text, finish=finish))
        )

    server.react = react
    replies = ask(endpoint_of(server, max_in_flight=1), *(f"prompt {number}" for number in range(40)))
    assert len(replies) == 40
