"""The API key: it is sent as it is, to its endpoint only, and nothing shows it."""

import asyncio
import logging
import pickle
import traceback

import pytest

from kubedistill.errors import (
    BadCredentials,
    InvalidInput,
    KubedistillError,
)
from kubedistill_runtime.endpoints.client import Client, open_client
from kubedistill_runtime.endpoints.endpoint import Endpoint
from support.endpoint_calls import APIS, ASKED, AT, KEY, SAMPLING, act_on, ask, endpoint_of
from support.endpoint_server import EndpointServer, Reaction, endpoint_server, problem


@pytest.mark.parametrize("key", ["", " \n", "two words", "line\nbreak", "ключ"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    async def run() -> None:
        async with open_client(Endpoint("OpenAI", "teacher", "https://api.openai.com/v1", at=AT), key=key):
            pass

    with pytest.raises(BadCredentials) as refused:
        asyncio.run(run())
    assert not key.strip() or key not in str(refused.value)


def test_the_line_break_at_the_end_of_a_secret_is_removed(server: EndpointServer) -> None:
    async def run() -> None:
        async with open_client(endpoint_of(server), key=f"{KEY}\n") as client:
            await client.ask(ASKED, sampling=SAMPLING, seed=1)

    asyncio.run(run())
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(401, problem(f"Incorrect API key provided: {KEY}")),
        Reaction(400, problem(f"bad request of {KEY}", param="temperature")),
        Reaction(500, f"trace of {KEY}".encode()),
        Reaction(body=b"not JSON " + KEY.encode()),
        Reaction(drop=True),
    ],
    ids=str,
)
def test_the_key_is_in_no_error_and_no_log(
    reaction: Reaction, api: str, server: EndpointServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.react = lambda _: reaction
    endpoint = endpoint_of(server, api, retry_seconds=0.2)
    with caplog.at_level(logging.DEBUG), pytest.raises(KubedistillError) as refused:
        ask(endpoint)
    shown = "".join(traceback.format_exception(refused.value))
    assert KEY not in f"{shown}{refused.value!r}{endpoint!r}{caplog.text}"
    assert KEY.encode() not in pickle.dumps(refused.value)
    values = server.received[0].headers.values()
    assert any(KEY in value for value in values), "it was sent, so it could have been shown"


def test_the_key_is_in_no_reply_of_a_row(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(400, problem(f"blocked for {KEY}", code="content_filter"))
    (reply,) = ask(endpoint_of(server))
    assert (reply.finish, reply.detail) == ("filtered", "HTTP 400: blocked for ***")


def test_the_key_is_in_no_representation_of_an_open_client(server: EndpointServer) -> None:
    async def act(client: Client) -> str:
        return repr(client)

    assert KEY not in act_on(endpoint_of(server), act)


@pytest.mark.parametrize("api", APIS)
def test_no_other_credential_of_the_environment_is_sent(
    api: str, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AZURE_OPENAI_AD_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, "another-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    ask(endpoint_of(server, api))
    assert not [name for name, value in server.received[0].headers.items() if "another-secret" in value]


def test_another_host_never_gets_the_key(server: EndpointServer) -> None:
    with endpoint_server() as other:
        server.react = lambda _: Reaction(307, b"", {"location": f"{other.url}/v1/chat/completions"})
        for api in APIS:
            with pytest.raises(InvalidInput):
                ask(endpoint_of(server, api))
        assert other.received == []
