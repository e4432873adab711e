"""KubeRay on a node: a process of the manager that KUBERAY_MANAGER names, or fake_kuberay in its place."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import psutil

from support.fake_kuberay.background import playing
from support.node.real_node import RealNode

PROGRAM = "KUBERAY_MANAGER"
Away = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes a context in which KubeRay does not run."""


@contextlib.contextmanager
def running_kuberay(node: RealNode) -> Iterator[Away]:
    """Run KubeRay until the context ends, and give what stops it for a while."""
    manager = os.environ.get(PROGRAM)
    if manager is None:
        away = threading.Event()
        with playing(node.plane.kubeconfig, on_node=True, log=node.logs / "player.jsonl", away=away):
            yield lambda: _set(away)
        return
    command = [manager, "--use-kubernetes-proxy", "--enable-leader-election=false"]
    pid = node.start("kuberay", ["env", f"KUBECONFIG={node.plane.kubeconfig}", *command])
    yield lambda: _suspended(psutil.Process(pid))


@contextlib.contextmanager
def _set(event: threading.Event) -> Iterator[None]:
    event.set()
    try:
        yield
    finally:
        event.clear()


@contextlib.contextmanager
def _suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()
