"""Both transports over real HTTP: answers, watches in pieces, and servers that hang up, lie or are not there."""

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kubedistill.client.access import Access, find_access
from kubedistill.client.api_server import ApiServer, AsyncApiServer
from kubedistill.client.request import Request
from kubedistill.errors import ClusterUnavailable, NoCluster, NotInstalled
from support.messages import CheckMessage

GET = Request("get", namespace="team-a", name="support")
WATCH = Request("watch", namespace="team-a", query={"resourceVersion": "7"})
EVENTS = [{"type": "MODIFIED", "object": {"number": number, "text": "é" * 40_000}} for number in range(3)]
STREAM = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in EVENTS).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the namespace that is asked for."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[tuple[str, str, dict[str, str], str]]] = []

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.requests.append((self.command, self.path, dict(self.headers), body))
        if "watch=true" in self.path:
            self._stream()
        elif "/nothing/" in self.path:
            self._say(404, b"404 page not found\n")
        elif "/hangs-up/" in self.path:
            self.close_connection = True
        else:
            self._say(200, json.dumps({"path": self.path}).encode())

    do_GET = do_PATCH = do_DELETE = _answer

    def _say(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(STREAM), 30_001):  # in the middle of lines, and of letters
            piece = STREAM[start : start + 30_001]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if "/cut-off/" not in self.path:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    """Yield the way to a server on this machine."""
    Handler.requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield find_access(kubeconfig=write(tmp_path, f"http://127.0.0.1:{server.server_address[1]}"))
        server.shutdown()


def write(folder: Path, server: Any, **user: Any) -> Path:
    values = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "users": [{"name": "u", "user": user}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(values))
    return path


def send(access: Access, request: Request) -> Any:
    server = ApiServer(access)
    try:
        return list(server.watch(request)) if request.verb == "watch" else server.send(request)
    finally:
        server.close()


def send_async(access: Access, request: Request) -> Any:
    async def main() -> Any:
        server = AsyncApiServer(access)
        try:
            if request.verb == "watch":
                return [event async for event in server.watch(request)]
            return await server.send(request)
        finally:
            await server.close()

    return asyncio.run(main())


Send = Callable[[Access, Request], Any]
both = pytest.mark.parametrize("send", [send, send_async])


@both
def test_a_request_is_answered(send: Send, access: Access) -> None:
    assert send(access, GET) == {"path": GET.path}
    method, path, headers, _ = Handler.requests[0]
    assert (method, path, headers["Accept"]) == ("GET", GET.path, "application/json")
    assert headers["User-Agent"].startswith("kubedistill/")


@both
@pytest.mark.parametrize(
    ("verb", "method", "content"),
    [
        ("apply", "PATCH", "application/apply-patch+yaml"),
        ("merge", "PATCH", "application/merge-patch+json"),
        ("delete", "DELETE", "application/json"),
    ],
)
def test_each_verb_has_its_method_and_its_content(
    send: Send, access: Access, verb: Any, method: str, content: str
) -> None:
    body = None if verb == "delete" else {"spec": {"suspend": True, "name": "é"}}
    send(access, Request(verb, namespace="team-a", name="support", body=body, query={"fieldManager": "me"}))
    found, path, headers, said = Handler.requests[0]
    assert (found, path, headers["Content-Type"]) == (method, f"{GET.path}?fieldManager=me", content)
    assert (json.loads(said) if said else None) == body


@both
def test_a_watch_that_comes_in_pieces_is_put_together(send: Send, access: Access) -> None:
    assert send(access, WATCH) == EVENTS
    assert Handler.requests[0][1].partition("?")[2] == "watch=true&timeoutSeconds=50&resourceVersion=7"


@both
@pytest.mark.parametrize("verb", ["get", "watch"])
def test_a_server_that_hangs_up_is_away(send: Send, access: Access, verb: Any) -> None:
    space = "hangs-up" if verb == "get" else "cut-off"
    with pytest.raises(ClusterUnavailable) as caught:
        send(access, Request(verb, namespace=space, name="support"))
    assert "http://127.0.0.1:" in caught.value.problem


@both
def test_a_server_that_is_not_there_is_away(send: Send, tmp_path: Path, check_message: CheckMessage) -> None:
    access = find_access(kubeconfig=write(tmp_path, "http://127.0.0.1:1"))
    with pytest.raises(ClusterUnavailable) as caught:
        send(access, GET)
    check_message(caught.value)


@both
def test_a_server_of_something_else_knows_no_jobs(send: Send, access: Access, check_message: CheckMessage) -> None:
    with pytest.raises(NotInstalled) as caught:
        send(access, Request("get", namespace="nothing", name="support"))
    check_message(caught.value)


@both
def test_a_user_who_can_t_be_read_is_said(send: Send, tmp_path: Path, check_message: CheckMessage) -> None:
    files = {"client-certificate": "none.crt", "client-key": "none.key"}
    access = find_access(kubeconfig=write(tmp_path, "https://127.0.0.1:1", **files))
    with pytest.raises(NoCluster) as caught:
        send(access, GET)
    check_message(caught.value, "none.crt")


@both
@pytest.mark.parametrize("address", [7, None, ["http://127.0.0.1"]], ids=["number", "nothing", "list"])
def test_a_cluster_in_another_shape_is_said(address: Any, send: Send, tmp_path: Path) -> None:
    access = find_access(kubeconfig=write(tmp_path, address))
    with pytest.raises(NoCluster):
        send(access, GET)
