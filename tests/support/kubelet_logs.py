"""The part of a kubelet that `kubectl logs` needs: a node, a pod on it, and an HTTPS server that has the pod's log."""

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.kube_api import Api


@contextmanager
def node_with_logs(api: Api, name: str, *, folder: Path, logs: Mapping[str, str]) -> Iterator[None]:
    """A node of that name while the context lasts; `logs` are texts by `pod/container`."""
    with _server(folder, logs) as port:
        api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        api.patch("v1/Node", name, {"status": status}, subresource="status")
        try:
            yield
        finally:
            api.delete("v1/Node", name)


def pod_on(node: str, name: str, *, labels: Mapping[str, str], container: str) -> dict[str, Any]:
    """Return a pod that runs on a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"nodeName": node, "containers": [{"name": container, "image": "x"}]},
    }


@contextmanager
def _server(folder: Path, logs: Mapping[str, str]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, _, pod, container = self.path.partition("?")[0].split("/")
            text = logs.get(f"{pod}/{container}")
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "no such container").encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "kubelet.crt", folder / "kubelet.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=kubelet", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
