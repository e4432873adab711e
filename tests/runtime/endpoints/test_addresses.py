"""Addresses of an endpoint: certificates and host names, refused or an outage."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import (
    EndpointUnavailable,
    InvalidInput,
)
from kubedistill_runtime.endpoints.client import Client
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from kubedistill_runtime.endpoints.failures import RequestFailed
from support.credentials import make_credentials
from support.endpoint_calls import APIS, ASKED, AT, SAMPLING, act_on, ask, endpoint_of
from support.endpoint_server import EndpointServer, Reaction, endpoint_server
from support.messages import check_facts


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_credentials(folder)
    return folder


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[EndpointServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    with endpoint_server(tls=context) as server:
        yield server


def test_a_certificate_of_a_known_authority_is_trusted(
    tls_server: EndpointServer, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
    assert ask(endpoint_of(tls_server))[0].text == "HELLO"


@pytest.mark.parametrize("api", APIS)
def test_a_certificate_that_is_not_trusted_is_the_users_to_fix(api: str, tls_server: EndpointServer) -> None:
    assert_address_is_refused(endpoint_of(tls_server, api), "SSL_CERT_FILE")
    assert tls_server.received == []


def test_a_host_that_nobody_knows_is_the_users_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoint = Endpoint("OpenAI", "teacher", "http://no-such-host.invalid/v1", at=AT, retry_seconds=300)
    assert_address_is_refused(endpoint, "host")


@pytest.mark.parametrize("api", APIS)
def test_a_web_page_in_the_place_of_an_api_is_the_users_to_fix(api: str, server: EndpointServer) -> None:
    page = Reaction(body=b"\n<!doctype html><title>Open WebUI</title>", headers={"content-type": "text/html"})
    server.react = lambda _: page
    assert_address_is_refused(endpoint_of(server, api), "/v1")


def test_a_web_page_after_replies_is_an_outage(server: EndpointServer) -> None:
    async def act(client: Client) -> None:
        await client.ask(ASKED, sampling=SAMPLING, seed=1)
        server.react = lambda _: Reaction(body=b"<html>Maintenance</html>")
        client.sleep = lambda seconds: asyncio.sleep(seconds / 100)
        await client.ask(ASKED, sampling=SAMPLING, seed=1)

    with pytest.raises(EndpointUnavailable) as refused:
        act_on(endpoint_of(server, retry_seconds=0.3), act)
    check_facts(refused.value, "web page")


def test_a_stream_that_was_not_asked_for_is_named(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(body=b'data: {"choices": []}\n\ndata: [DONE]\n\n')
    with pytest.raises(EndpointUnavailable) as refused:
        ask(endpoint_of(server, retry_seconds=0.3))
    check_facts(refused.value, "stream of events")


@pytest.mark.parametrize("api", APIS)
def test_a_proxy_of_the_environment_is_used(api: str, server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    endpoint = endpoint_of(server, api)
    assert endpoint.url is not None
    outside = replace(endpoint, url=endpoint.url.replace(server.url, "http://endpoint.example"))
    assert ask(outside)[0].text == "HELLO"
    assert server.received[0].path.startswith("http://endpoint.example/")
    with endpoint_server() as inside:
        assert ask(endpoint_of(inside, api))[0].text == "HELLO"
    assert len(server.received) == 1, "what NO_PROXY names is reached directly"


def test_a_proxy_that_wants_a_login_is_not_the_fault_of_prompts(
    server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.react = lambda _: Reaction(407, b"<html>Proxy Authentication Required</html>")
    with pytest.raises(EndpointUnavailable) as refused:
        ask(Endpoint("OpenAI", "teacher", "http://endpoint.example/v1", at=AT, retry_seconds=0.3))
    check_facts(refused.value, "407", "proxy")


def test_a_name_server_that_does_not_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(EndpointUnavailable, match="Temporary failure"):
        ask(Endpoint("OpenAI", "teacher", "http://endpoint.example/v1", at=AT, retry_seconds=0.3))


def assert_address_is_refused(endpoint: Endpoint, word: str) -> None:
    """Check that an endpoint which never answered is refused after half a minute, on a clock that runs by sleeping."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    async def act(client: Client) -> None:
        client.clock, client.sleep = (lambda: now[0]), sleep
        await client.ask(ASKED, sampling=SAMPLING, seed=1)

    with pytest.raises(InvalidInput) as refused:
        act_on(replace(endpoint, retry_seconds=300), act)
    check_facts(refused.value, AT, word)
    assert 30 <= now[0] < 90


def test_a_certificate_that_expires_during_a_run_is_an_outage(server: EndpointServer) -> None:
    async def act(client: Client) -> None:
        await client.ask(ASKED, sampling=SAMPLING, seed=1)

        async def refuse(*_: Any, **__: Any) -> Reply:
            raise RequestFailed("Certificate", "certificate has expired")

        client.adapter = type("Expired", (), {"ask": staticmethod(refuse)})()
        client.sleep = lambda seconds: asyncio.sleep(seconds / 100)
        await client.ask(ASKED, sampling=SAMPLING, seed=1)

    with pytest.raises(EndpointUnavailable, match="expired"):
        act_on(endpoint_of(server, retry_seconds=0.3), act)
