"""The API server as a pod meets it: its token, and everything that can come back instead of an answer."""

import json
import re
import socket
from pathlib import Path

import pytest

from kubedistill.errors import ChannelUnavailable
from kubedistill_runtime.channel.api_server import ApiServer, TransientError, find_api_server
from support.config_map_server import PATH, ConfigMapServer, Fault, make_server_credentials
from support.messages import CheckMessage

BOUND = 4 * 2**20


def transient(api: ApiServer) -> TransientError:
    with pytest.raises(TransientError) as caught:
        api.call("GET", PATH)
    return caught.value


def test_a_call_brings_the_object(api: ApiServer, server: ConfigMapServer) -> None:
    reply = api.call("GET", PATH)
    assert (reply.status, reply.values, reply.reason) == (200, server.values(), "")
    (call,) = server.calls
    assert (call.method, call.path, call.token, call.patch) == ("GET", PATH, "first-token", [])


def test_neither_a_proxy_nor_other_authorities_come_between(
    api: ApiServer, server: ConfigMapServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_server_credentials(tmp_path / "other")
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unheard.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(other / "ca.crt"))
        assert api.call("GET", PATH).values == server.values()


HICCUPS = {
    "reset": (Fault(reset=True), "(ConnectionReset|SSL|RemoteDisconnected|BrokenPipe)"),
    "cut off before a word": (Fault(raw=b""), "RemoteDisconnected"),
    "not HTTP": (Fault(raw=b"hello\r\n\r\n"), "BadStatusLine"),
    "500": (Fault(status=500, body=b'{"message": "etcd\\nleader changed"}'), "500 etcd leader changed"),
    "503 in HTML": (Fault(status=503, body=b"<html>"), "503 Service Unavailable"),
    "504": (Fault(status=504), "504"),
    "429": (Fault(status=429), "429 Too Many Requests"),
    "409": (Fault(status=409), "409"),
    "408": (Fault(status=408), "408"),
    "401": (Fault(status=401, body=b'{"message": "Unauthorized"}'), "401 Unauthorized"),
    "truncated JSON": (Fault(body=b'{"metadata": {"na'), r'b.{"metadata'),
    "truncated body": (Fault(raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"a"'), "JSON"),
    "truncated chunk": (
        Fault(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}"), "(IncompleteRead|JSON)"
    ),
    "endless headers": (Fault(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000), "HTTPException"),
    "empty": (Fault(body=b" "), "JSON"),
    "HTML": (Fault(body=b"<html>Sign in</html>"), "b'<html>Sign in</html>'"),
    "a list": (Fault(body=b"[]"), "JSON"),
    "a number": (Fault(body=b"9" * 5000), "JSON"),
    "no UTF-8": (Fault(body=b'{"a": "\xff\xfe"}'), "JSON"),
    "nested": (Fault(body=b'{"a":' + b"[" * 500_000), "JSON"),
    "huge": (Fault(body=b'{"a": "' + b"x" * BOUND + b'"}'), str(BOUND)),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "says"), HICCUPS.values(), ids=HICCUPS)
def test_what_may_pass_is_a_hiccup_that_says_what_came(
    fault: Fault, says: str, api: ApiServer, server: ConfigMapServer
) -> None:
    server.faults.append(fault)
    error = transient(api)
    assert re.search(says, str(error))
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    assert api.call("GET", PATH).values == server.values(), "and it passes"


@pytest.mark.parametrize(
    ("fault", "says"),
    [(Fault(silent=True), "TimeoutError: .*timed out"), (Fault(applied=True, dripping=0.05), "0.3 s")],
    ids=["no answer", "a byte now and then"],
)
def test_no_call_waits_forever(fault: Fault, says: str, server: ConfigMapServer) -> None:
    server.faults.append(fault)
    api = ApiServer("127.0.0.1", server.port, server.account, seconds=0.3)
    assert re.search(says, str(transient(api)))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0), ("0", 0.0), ("", 0.0), ("-3", 0.0), ("soon", 0.0), ("9" * 400, 0.0), ("²", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_taken_where_it_is_a_number(
    header: str, seconds: float, api: ApiServer, server: ConfigMapServer
) -> None:
    server.faults.append(Fault(status=429, headers={"Retry-After": header}))
    assert transient(api).retry_after == seconds


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Fault(status=403, body=b'{"message": "x is forbidden"}'), 403, "403 x is forbidden"),
        (Fault(status=403, body=b"<html>no</html>"), 403, "403 Forbidden"),
        (Fault(status=404, body=b"[]"), 404, "404 Not Found"),
        (Fault(status=422, body=b'{"message": 3}'), 422, "422 3"),
        (Fault(status=400, body=json.dumps({"message": "x" * 9000}).encode()), 400, "400 " + "x" * 300),
        (Fault(status=301, headers={"Location": f"https://127.0.0.1{PATH}"}), 301, "301 Moved Permanently"),
        (Fault(status=307, headers={"Location": "http://example.org/"}), 307, "307 Temporary Redirect"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)  # fmt: skip
def test_a_refusal_is_given_back_with_its_reason_and_no_redirect_is_followed(
    fault: Fault, status: int, reason: str, api: ApiServer, server: ConfigMapServer
) -> None:
    server.always = fault
    reply = api.call("GET", PATH)
    assert (reply.status, reply.values, reply.reason) == (status, {}, reason)
    assert len(server.calls) == 1


def test_the_token_is_read_again_for_each_call(api: ApiServer, server: ConfigMapServer) -> None:
    api.call("GET", PATH)
    server.token = "second-token"
    assert "401" in str(transient(api))
    server.give_token("second-token\n")
    assert api.call("GET", PATH).status == 200


@pytest.mark.parametrize("token", [b"secret\nX-Evil: 1", b"secret\r\nX: 1", "secret-ü".encode(), b"secret\x00"])
def test_a_value_that_is_not_a_token_is_never_sent_or_printed(
    token: bytes, api: ApiServer, server: ConfigMapServer
) -> None:
    (server.account / "token").write_bytes(token)
    assert "secret" not in str(transient(api)).replace(str(server.account), "")
    assert [call for call in server.calls if call.status == 200] == []


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_an_account_without_token_or_authority_may_get_them(name: str, api: ApiServer, server: ConfigMapServer) -> None:
    (server.account / name).unlink()
    assert "FileNotFoundError" in str(transient(api))
    assert server.calls == []


def test_a_server_of_another_authority_never_sees_the_token(
    api: ApiServer, server: ConfigMapServer, tmp_path: Path
) -> None:
    other = make_server_credentials(tmp_path / "other")
    (server.account / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    assert "CERTIFICATE_VERIFY_FAILED" in str(transient(api))
    assert server.calls == []


def test_where_nobody_listens_is_a_hiccup(server: ConfigMapServer) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        api = ApiServer("127.0.0.1", unheard.getsockname()[1], server.account)
        assert "ConnectionRefusedError" in str(transient(api))


def test_a_name_that_is_not_a_host_is_a_hiccup(server: ConfigMapServer) -> None:
    assert transient(ApiServer("a" * 70 + ".invalid", 443, server.account))


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "kubernetes.default.svc"])
def test_a_pod_knows_the_server_from_its_environment(host: str) -> None:
    found = find_api_server({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"})
    assert (found.host, found.port) == (host, 6443)
    assert found.account == Path("/var/run/secrets/kubernetes.io/serviceaccount")


def test_an_account_may_be_mounted_elsewhere(server: ConfigMapServer) -> None:
    found = find_api_server(
        {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "KUBEDISTILL_SERVICE_ACCOUNT": str(server.account),
        }
    )
    assert found.namespace == "team"
    assert found.call("GET", PATH).status == 200


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"KUBERNETES_SERVICE_PORT": "443"},
        *({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": port} for port in ("x", "-1", "65536", "²", "")),
    ],
    ids=str,
)
def test_outside_of_a_cluster_that_is_said(environment: dict[str, str], check_message: CheckMessage) -> None:
    with pytest.raises(ChannelUnavailable) as refused:
        find_api_server(environment)
    check_message(refused.value, "KUBEDISTILL_CHANNEL")


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_pod_without_an_account_is_told_what_to_mount(
    content: bytes | None, api: ApiServer, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    (server.account / "namespace").unlink()
    if content is not None:
        (server.account / "namespace").write_bytes(content)
    with pytest.raises(ChannelUnavailable) as refused:
        _ = api.namespace
    check_message(refused.value, "ServiceAccount")
