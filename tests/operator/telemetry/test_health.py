"""Health: probes see a loop that is blocked, a check that fails, and a replica that only waits; Prometheus sees all."""

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from kubedistill_operator.telemetry.health import Check, make_app, serving


def fetch(port: int, path: str, *, timeout: float = 10.0) -> tuple[int, str, str]:
    """Return (status, content type, text) of a page, asked for as a kubelet does: from outside."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def ask(
    path: str, *, alive: Mapping[str, Check] | None = None, ready: Mapping[str, Check] | None = None
) -> tuple[int, str]:
    registry = CollectorRegistry()
    Gauge("distillation_test", "A gauge", ["name"], registry=registry).labels(name='a "quoted" name').set(1)

    async def play() -> tuple[int, str, str]:
        app = make_app(alive=alive or {}, ready=ready or {}, registry=registry)
        async with serving(app, port=0, host="127.0.0.1") as port:
            return await asyncio.to_thread(fetch, port, path)

    status, _, text = asyncio.run(play())
    return status, text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_all_is_well(path: str) -> None:
    assert ask(path, alive={"loop": str}, ready={"api": str}) == (200, "ok")


def test_what_is_wrong_is_named() -> None:
    checks = {"reconcile": lambda: "one has been running for 400 s", "loop": str, "watch": lambda: "silent"}
    assert ask("/healthz", alive=checks) == (503, "reconcile: one has been running for 400 s\nwatch: silent")


def test_a_replica_that_is_alive_may_not_be_ready() -> None:
    checks = {"api": lambda: "the CRD is not there"}
    assert ask("/readyz", ready=checks)[0] == 503
    assert ask("/healthz", ready=checks)[0] == 200


def test_the_exposition_parses() -> None:
    status, text = ask("/metrics")
    assert status == 200
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"name": 'a "quoted" name'}


def test_there_is_nothing_else() -> None:
    assert ask("/")[0] == 404


def test_a_loop_that_is_blocked_fails_the_probe() -> None:
    outcome: list[object] = []

    def probe(port: int) -> None:
        try:
            outcome.append(fetch(port, "/healthz", timeout=0.5))
        except OSError as error:
            outcome.append(error)

    async def play() -> None:
        app = make_app(alive={}, ready={}, registry=CollectorRegistry())
        async with serving(app, port=0, host="127.0.0.1") as port:
            thread = threading.Thread(target=probe, args=[port])
            thread.start()
            time.sleep(2)  # the defect that the probe is there for
            await asyncio.to_thread(thread.join)
            assert (await asyncio.to_thread(fetch, port, "/healthz"))[0] == 200, "and it recovers"

    asyncio.run(play())
    assert isinstance(outcome[0], TimeoutError)
