"""An API server that keeps one ConfigMap: real HTTPS, GET and JSON Patch as Kubernetes has them, faults on demand."""

import contextlib
import json
import shutil
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.credentials import make_credentials

NAMESPACE, NAME = "team", "job-train-abcde-out"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call instead of its answer; `applied` says that the change was made before."""

    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent instead of an HTTP reply."""
    reset: bool = False
    silent: bool = False
    """No answer before the caller has left."""
    dripping: float = 0.0
    """Seconds between two bytes of the body."""
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came in, and the status it was given; 0 for none."""

    method: str
    path: str
    token: str
    patch: list[dict[str, str]]
    status: int


@dataclass(slots=True)
class ConfigMapServer:
    """The server, and the folder in which a pod would find its account."""

    account: Path
    data: dict[str, str]
    owners: tuple[str, ...] = ()
    """Uids of its owners."""
    version: int = 1
    token: str = "first-token"
    """The token that it takes."""
    immutable: bool = False
    gone: bool = False
    faults: deque[Fault] = field(default_factory=deque)
    """For the next calls, one each."""
    always: Fault | None = None
    calls: list[Call] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None
    """Done once, when the next patch has come in and before it is applied."""
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    broken: list[BaseException] = field(default_factory=list)

    @property
    def patches(self) -> list[list[dict[str, str]]]:
        """The patches that were applied, in their order."""
        return [call.patch for call in self.calls if call.method == "PATCH" and call.status == 200]

    def give_token(self, token: str) -> None:
        """Renew the pod's token, as the kubelet does."""
        new = self.account / "token.new"
        new.write_text(token)
        new.replace(self.account / "token")

    def values(self) -> dict[str, Any]:
        owners = [{"kind": "DistillationJob", "name": "job", "uid": uid} for uid in self.owners]
        metadata = {
            "name": NAME,
            "namespace": NAMESPACE,
            "resourceVersion": str(self.version),
            **({"ownerReferences": owners} if owners else {}),
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(self.data)}

    def apply(self, patch: list[dict[str, str]]) -> bool:
        """Apply all of a JSON Patch or nothing of it."""
        values = self.values()
        for change in patch:
            _, group, name = (part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/"))
            there = name in values[group]
            if change["op"] == "test":
                if not there or values[group][name] != change["value"]:
                    return False
            elif self.immutable or not (change["op"] == "add" or (change["op"] == "replace" and there)):
                return False
            else:
                values[group][name] = change["value"]
        if values["data"] != self.data:
            self.data, self.version = values["data"], self.version + 1
        return True


@contextlib.contextmanager
def serve_config_map(
    credentials: Path, account: Path, data: dict[str, str], *, owner: str
) -> Iterator[ConfigMapServer]:
    """Serve one ConfigMap on 127.0.0.1 until the context ends; nothing of what went wrong in it is swallowed."""
    account.mkdir(parents=True)
    shutil.copy(credentials / "ca.crt", account / "ca.crt")
    (account / "namespace").write_text(NAMESPACE)
    kept = ConfigMapServer(account, data, owners=(owner,))
    kept.give_token(kept.token)
    server = _Server(kept, credentials)
    kept.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield kept
    finally:
        kept.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert not kept.broken, kept.broken


def make_server_credentials(folder: Path) -> Path:
    """Return a CA, and a certificate of it for 127.0.0.1."""
    make_credentials(folder)
    return folder


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    block_on_close = True

    def __init__(self, kept: ConfigMapServer, credentials: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept, self.lock = kept, threading.Lock()
        self._identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._identity.load_cert_chain(credentials / "server.crt", credentials / "server.key")

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        return self._identity.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):  # a caller may leave whenever it likes
            self.kept.broken.append(error)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        self._serve([])

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kept = self.server.kept
        meanwhile, kept.meanwhile = kept.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self._serve(json.loads(body))

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass

    def _serve(self, patch: list[dict[str, str]]) -> None:
        kept, token = self.server.kept, self.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.server.lock:
            fault = kept.faults.popleft() if kept.faults else kept.always
            status, body = (fault.status, fault.body) if fault and not fault.applied else self._answer(patch, token)
            kept.calls.append(Call(self.command, self.path, token, patch, status))
        if fault is None:
            self._send(status, body)
        else:
            self._fail(fault, body=fault.body or body)

    def _answer(self, patch: list[dict[str, str]], token: str) -> tuple[int, bytes]:
        kept = self.server.kept
        if token != kept.token:
            return _refusal(401, "Unauthorized")
        if self.path != PATH or kept.gone:
            return _refusal(404, f'configmaps "{self.path.rpartition("/")[2]}" not found')
        if patch and self.headers["Content-Type"] != "application/json-patch+json":
            return _refusal(415, "the body of the request was in an unknown format")
        if patch and not kept.apply(patch):
            return _refusal(422, "the server rejected our request due to an error in our request")
        return 200, json.dumps(kept.values()).encode()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, pause: float = 0.0) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        for part in [body] if not pause else [body[place : place + 1] for place in range(len(body))]:
            self.wfile.write(part)
            if pause and self.server.kept.closing.wait(pause):
                return

    def _fail(self, fault: Fault, *, body: bytes) -> None:
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif fault.silent:
            self.server.kept.closing.wait(5)
        elif fault.raw is not None:
            self.wfile.write(fault.raw)
        else:
            self._send(fault.status or 200, body, fault.headers, pause=fault.dripping)
        self.close_connection = True


def _refusal(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status}).encode()
