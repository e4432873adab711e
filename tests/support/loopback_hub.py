"""A Hugging Face hub on loopback, which answers as a test says, and a client that asks it."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from kubedistill_runtime import hub_errors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = {"X_Repo_Commit": COMMIT, "ETag": '"abc"'}
"""The headers of a file."""
Serve = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, *, body: bytes = b"", cut: int = 0, **headers: str) -> Serve:
    """Return an answer with headers, whose names are written with underscores.

    `cut` bytes are promised and not sent.
    """

    def serve(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body) + cut)}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(b"" if request.command == "HEAD" else body)

    return serve


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def say_nothing(request: BaseHTTPRequestHandler) -> None:
    request.connection.recv(1)  # until the client gives up


@contextmanager
def serving(*, by_path: Mapping[str, Serve]) -> Iterator[str]:
    """Yield a hub on loopback, which answers a path as the first part of it that is named says."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            next(serve for part, serve in by_path.items() if part in self.path)(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what HF_ENDPOINT does when the client is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def use_empty_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client have nothing yet, and not wait between its own tries."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setattr(hub_errors, "_ANSWER_SECONDS", 0.3)
