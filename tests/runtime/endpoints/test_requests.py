"""What is sent to an endpoint, and how each reply and each refusal of a prompt ends its row."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import (
    InvalidInput,
)
from kubedistill_runtime.endpoints import anthropic_messages, openai_chat
from kubedistill_runtime.endpoints.client import open_client
from kubedistill_runtime.endpoints.endpoint import FINISHES, Endpoint, Reply
from kubedistill_runtime.endpoints.failures import TREATMENTS, RequestFailed, classify_status, read_problem
from kubedistill_runtime.serving.engine import Constraint, Sampling
from support.endpoint_calls import APIS, ASKED, AT, KEY, SAMPLING, ask, endpoint_of
from support.endpoint_server import EndpointServer, Reaction, Received, chat, echo, message, problem
from support.messages import CheckMessage

KEYS = (
    "choices", "message", "content", "finish_reason", "refusal", "usage", "stop_reason", "type", "text", "error",
    "code", "innererror", "content_filter_result", "param", "detail", "filtered", "content_filter_results",
)  # fmt: skip
PATHS = {
    "OpenAI": "/v1/chat/completions",
    "AzureOpenAI": "/openai/deployments/teacher/chat/completions?api-version=2024-10-21",
    "Anthropic": "/v1/messages",
}


@pytest.mark.parametrize("api", APIS)
def test_a_conversation_is_sent_as_the_api_wants_it(api: str, server: EndpointServer) -> None:
    (reply,) = ask(endpoint_of(server, api))
    fingerprint = "" if api == "Anthropic" else "fp_1"
    assert reply == Reply("HELLO", "stop", "teacher-1", fingerprint, 7, 3)
    (received,) = server.received
    assert received.path == PATHS[api]
    assert (received.body["model"], received.body["temperature"], received.body["max_tokens"]) == ("teacher", 0.5, 32)
    user = {"role": "user", "content": "hello"}
    if api == "Anthropic":
        assert (received.body["system"], received.body["messages"]) == ("Be kind.", [user])
        assert "seed" not in received.body
    else:
        assert received.body["messages"] == [{"role": "system", "content": "Be kind."}, user]
        assert received.body["seed"] == 7
    assert "top_p" not in received.body, "some models refuse it next to a temperature"


@pytest.mark.parametrize("api", ["OpenAI", "AzureOpenAI"])
def test_a_schema_is_sent_where_replies_are_forced_into_it(api: str, server: EndpointServer) -> None:
    async def run() -> None:
        async with open_client(endpoint_of(server, api), key=KEY) as client:
            forced = replace(SAMPLING, constraint=Constraint(json_schema='{"type":"object"}'))
            await client.ask(ASKED, sampling=forced, seed=1)
            await client.ask(ASKED, sampling=SAMPLING, seed=1)

    asyncio.run(run())
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert server.received[0].body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert "response_format" not in server.received[1].body


def test_top_p_is_sent_where_it_is_set(server: EndpointServer) -> None:
    async def run() -> None:
        async with open_client(endpoint_of(server), key=KEY) as client:
            await client.ask(ASKED, sampling=replace(SAMPLING, top_p=0.9), seed=1)

    asyncio.run(run())
    assert server.received[0].body["top_p"] == 0.9


def test_a_reasoning_model_gets_the_newer_name_of_the_limit(server: EndpointServer) -> None:
    text = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    refused = Reaction(400, problem(text, code="unsupported_parameter", param="max_tokens"))
    server.react = lambda received: refused if "max_tokens" in received.body else echo(received)

    async def run() -> list[Reply]:
        async with open_client(endpoint_of(server), key=KEY) as client:
            return [await client.ask(ASKED, sampling=SAMPLING, seed=1) for _ in range(2)]

    assert [reply.finish for reply in asyncio.run(run())] == ["stop", "stop"]
    assert [one.body.get("max_completion_tokens") for one in server.received] == [None, 32, 32]


def ask_twice(endpoint: Endpoint, *, sampling: Sampling) -> list[Reply]:
    async def run() -> list[Reply]:
        async with open_client(endpoint, key=KEY) as client:
            return [await client.ask(ASKED, sampling=sampling, seed=1) for _ in range(2)]

    return asyncio.run(run())


MISTRAL = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
GEMINI = problem('Invalid JSON payload received. Unknown name "seed": Cannot find field.')
O1 = problem("Unsupported parameter: 'temperature' is not supported with this model.", param="temperature")
GPT_5 = problem("Unsupported value: 'temperature' does not support 0 with this model.", param="temperature")
OPUS = problem("`temperature` is deprecated for this model.", kind="invalid_request_error")
BOTH = problem("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


@pytest.mark.parametrize(
    ("api", "status", "body", "name", "sampling"),
    [
        ("OpenAI", 422, MISTRAL, "seed", SAMPLING),
        ("OpenAI", 400, GEMINI, "seed", SAMPLING),
        ("OpenAI", 400, O1, "temperature", replace(SAMPLING, temperature=1.0)),
        ("OpenAI", 400, GPT_5, "temperature", replace(SAMPLING, temperature=0.0)),
        ("AzureOpenAI", 400, GPT_5, "temperature", replace(SAMPLING, temperature=0.0)),
        ("Anthropic", 400, OPUS, "temperature", replace(SAMPLING, temperature=0.0)),
        ("Anthropic", 400, BOTH, "temperature", replace(SAMPLING, temperature=1.0, top_p=0.9)),
    ],
)
def test_a_parameter_that_a_model_refuses_is_left_out(
    api: str, status: int, body: Any, name: str, sampling: Sampling, server: EndpointServer,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    server.react = lambda received: Reaction(status, body) if name in received.body else echo(received)
    replies = ask_twice(endpoint_of(server, api), sampling=sampling)
    assert [(reply.finish, reply.detail) for reply in replies] == [("stop", f"asked without {name}")] * 2
    assert [name in one.body for one in server.received] == [True, False, False], "it is refused once"
    assert caplog.text.count(f"refuses {name}") == 1


def test_a_model_may_refuse_all_that_can_be_left_out(server: EndpointServer) -> None:
    refusals = {"max_tokens": problem("Use 'max_completion_tokens'.", param="max_tokens"), "temperature": O1,
                "seed": problem("Unsupported parameter: 'seed'", param="seed")}  # fmt: skip

    def react(received: Received) -> Reaction:
        return next((Reaction(400, body) for name, body in refusals.items() if name in received.body), echo(received))

    server.react = react
    replies = ask_twice(endpoint_of(server), sampling=replace(SAMPLING, temperature=0.0))
    assert [reply.detail for reply in replies] == ["asked without seed, temperature"] * 2
    assert sorted(server.received[-1].body) == ["max_completion_tokens", "messages", "model"]
    assert len(server.received) == 5


@pytest.mark.parametrize("temperature", [0.5, 0.7, 2.0])
def test_a_temperature_that_matters_is_not_left_out(temperature: float, server: EndpointServer) -> None:
    server.react = lambda received: Reaction(400, GPT_5) if "temperature" in received.body else echo(received)
    with pytest.raises(InvalidInput) as refused:
        ask_twice(endpoint_of(server), sampling=replace(SAMPLING, temperature=temperature))
    assert "temperature" in refused.value.problem
    assert "spec.generation.temperature" in refused.value.fix
    assert len(server.received) == 1


def test_a_parameter_that_is_refused_even_when_it_is_not_sent_is_an_error(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(400, GPT_5)
    with pytest.raises(InvalidInput):
        ask_twice(endpoint_of(server), sampling=replace(SAMPLING, temperature=0.0))
    assert len(server.received) == 2


def test_a_prompt_that_is_refused_and_names_a_parameter_ends_only_its_row(server: EndpointServer) -> None:
    text = "messages: the word 'seed' is not supported"
    server.react = lambda one: Reaction(400, problem(text)) if "bad" in one.prompt else echo(one)
    replies = ask(endpoint_of(server), "bad", "good")
    assert [reply.finish for reply in replies] == ["rejected", "stop"]


# Finishes


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (chat("cut", finish="length"), ("length", "cut", "")),
        (chat("part", finish="content_filter"), ("filtered", "part", "")),
        (chat(None, refusal="I can't help with that."), ("refused", "", "I can't help with that.")),
        (chat(None), ("stop", "", "")),
        (chat(None, finish="tool_calls"), ("other", "", "finish_reason is tool_calls")),
    ],
)
def test_finishes_of_chat_completions(body: dict[str, Any], expected: tuple[str, ...], server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=body)
    (reply,) = ask(endpoint_of(server))
    assert (reply.finish, reply.text, reply.detail) == expected


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("EOS_TOKEN", "stop"),
        ("stop_sequence", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "filtered"),
        ("refusal", "refused"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_reasons_of_other_servers_are_known(reason: Any, finish: str, server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=chat("text", finish=reason))
    (reply,) = ask(endpoint_of(server))
    assert (reply.finish, reply.text) == (finish, "text")


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource", "network_error"])
def test_a_reply_that_the_server_could_not_finish_is_asked_for_again(reason: str, server: EndpointServer) -> None:
    server.react = lambda one: Reaction(body=chat("par", finish=reason)) if one.number == 0 else echo(one)
    (reply,) = ask(endpoint_of(server))
    assert (reply.finish, reply.text, reply.requests) == ("stop", "HELLO", 2)


def test_azure_names_the_categories_of_its_filter(server: EndpointServer) -> None:
    body = chat("", finish="content_filter")
    results = {"hate": {"filtered": True, "severity": "high"}, "violence": {"filtered": False, "severity": "safe"}}
    body["choices"][0]["content_filter_results"] = results
    server.react = lambda _: Reaction(body=body)
    (reply,) = ask(endpoint_of(server, "AzureOpenAI"))
    assert (reply.finish, reply.detail) == ("filtered", "hate")


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refused"),
        ("pause_turn", "other"),
    ],
)
def test_finishes_of_messages(stop: str, expected: str, server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=message("part", stop=stop))
    (reply,) = ask(endpoint_of(server, "Anthropic"))
    assert (reply.finish, reply.text) == (expected, "part")


AZURE_FILTER = {
    "error": {
        "message": "The response was filtered", "code": "content_filter", "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"self_harm": {"filtered": True, "severity": "medium"}},
        },
    }
}  # fmt: skip
FLAGGED = {
    "error": {
        "message": "The model requires moderation on OpenRouter. Your input was flagged for \"violence\".", "code": 403,
        "metadata": {"reasons": ["violence"], "flagged_input": "..."},
    }
}  # fmt: skip
LONG = "This model's maximum context length is 128 tokens. However, you requested 200 tokens"


@pytest.mark.parametrize(
    ("api", "status", "body", "finish", "word"),
    [
        ("AzureOpenAI", 400, AZURE_FILTER, "filtered", "self_harm"),
        ("OpenAI", 400, problem("blocked", code="content_policy_violation"), "filtered", "blocked"),
        (
            "OpenAI",
            403,
            {"code": "permission-denied", "error": "Content violates usage guidelines. "},
            "filtered",
            "usage",
        ),
        ("OpenAI", 403, FLAGGED, "filtered", "flagged"),
        ("OpenAI", 400, problem("Content Exists Risk", code="invalid_request_error"), "filtered", "Risk"),
        ("OpenAI", 400, problem("inappropriate", code="data_inspection_failed"), "filtered", "inappropriate"),
        ("OpenAI", 400, problem("too long", code="context_length_exceeded"), "too_long", "too long"),
        ("OpenAI", 400, {"message": LONG, "type": "BadRequestError", "param": "max_tokens"}, "too_long", "128"),
        ("Anthropic", 400, problem("prompt is too long: 210000 tokens > 200000"), "too_long", "210000"),
        ("Anthropic", 413, problem("request exceeds the limit", kind="request_too_large"), "too_long", "limit"),
        ("OpenAI", 422, {"detail": "bad character"}, "rejected", "bad character"),
        ("Anthropic", 400, problem("messages: roles must alternate"), "rejected", "alternate"),
    ],
)
def test_a_prompt_that_is_refused_ends_only_its_row(
    api: str, status: int, body: Any, finish: str, word: str, server: EndpointServer
) -> None:
    server.react = lambda one: Reaction(status, body) if "bad" in one.prompt else echo(one)
    replies = ask(endpoint_of(server, api), "bad", "good")
    assert [reply.finish for reply in replies] == [finish, "stop"]
    assert word in replies[0].detail
    assert len(server.received) == 2, "what is refused is not sent again"


def test_settings_that_each_prompt_is_refused_for_end_the_job(
    server: EndpointServer, check_message: CheckMessage
) -> None:
    server.react = lambda _: Reaction(400, problem("temperature: range: 0..1"))
    with pytest.raises(InvalidInput) as refused:
        ask(endpoint_of(server, "Anthropic"), *(f"prompt {number}" for number in range(40)))
    check_message(refused.value, AT, 16, "temperature")
    assert len(server.received) < 40


# Bodies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def outcome(read: Callable[[bytes], Reply], body: bytes) -> str:
    try:
        return read(body).finish
    except RequestFailed as error:
        return error.kind


@given(body=JSON.map(json.dumps).map(str.encode) | st.binary())
def test_whatever_a_body_is_a_reply_or_an_unusable_body_comes_of_it(body: bytes) -> None:
    for read in (openai_chat._read, anthropic_messages._read):
        assert outcome(read, body) in (*FINISHES, "Unusable", "WebPage", "ServerError")


@given(body=JSON.map(json.dumps).map(str.encode) | st.binary(), status=st.integers(300, 599))
def test_whatever_the_body_of_an_error_is_it_is_of_some_kind(body: bytes, status: int) -> None:
    assert classify_status(status, read_problem(body)) in TREATMENTS


def test_a_reply_whose_usage_and_filters_are_null_is_a_reply() -> None:
    body = chat("paid for")
    body["usage"] = {"prompt_tokens": None, "completion_tokens": None}
    body["choices"][0]["content_filter_results"] = {"jailbreak": None}
    reply = openai_chat._read(json.dumps(body).encode())
    assert (reply.text, reply.finish, reply.prompt_tokens) == ("paid for", "stop", 0)


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": "unknown"},
        {"usage": {"prompt_tokens": "many", "completion_tokens": 2.5}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 10**30}},
        {"model": 4, "system_fingerprint": 5},
        {"filters": {"custom_blocklists": [{"id": "a"}], "error": {"code": "x"}, "hate": {"filtered": None}}},
        {"filters": "none"},
        {"refusal": False},
    ],
    ids=str,
)
def test_a_part_that_only_counts_does_not_discard_a_reply(odd: dict[str, Any], server: EndpointServer) -> None:
    body = chat("paid for") | {name: value for name, value in odd.items() if name not in ("filters", "refusal")}
    body["choices"][0]["content_filter_results"] = odd.get("filters")
    body["choices"][0]["message"]["refusal"] = odd.get("refusal")
    server.react = lambda _: Reaction(body=body)
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.finish, reply.requests) == ("paid for", "stop", 1)


def test_a_message_with_odd_counts_is_a_reply(server: EndpointServer) -> None:
    usage = {"input_tokens": "7", "output_tokens": None}
    server.react = lambda _: Reaction(body=message("paid for") | {"usage": usage})
    (reply,) = ask(endpoint_of(server, "Anthropic"))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.requests) == ("paid for", 7, 0, 1)


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THOUGHT, {"type": "text", "text": "An"}, {"type": "text", "text": "swer"}], "Answer"),
        ([THOUGHT], ""),
        ([], ""),
    ],
)
def test_the_text_parts_of_a_content_are_the_answer(content: Any, text: str, server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=chat(content))
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.finish, reply.requests) == (text, "stop", 1)


@pytest.mark.parametrize(
    ("escaped", "text"), [("\\ud83d", "\ufffd"), ("\\ud83d\\ude00", "\U0001f600"), ("\\\\ud83d", "\\ud83d")]
)
def test_half_a_character_does_not_discard_a_reply(escaped: str, text: str, server: EndpointServer) -> None:
    body = json.dumps(chat("cut HERE")).replace("HERE", escaped)
    server.react = lambda _: Reaction(body=body.encode())
    (reply,) = ask(endpoint_of(server))
    assert (reply.text, reply.requests) == (f"cut {text}", 1)
