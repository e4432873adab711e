"""The guard works: a connection beyond loopback is refused here and in processes that tests start."""

import socket
import subprocess
import sys

import pytest

SCRIPT = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"


def test_connections_beyond_loopback_are_refused() -> None:
    with pytest.raises(PermissionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 9), timeout=1)


def test_so_are_those_of_children() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True)
    assert "only loopback is allowed" in run.stderr


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
