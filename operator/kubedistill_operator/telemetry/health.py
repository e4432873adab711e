"""Health: a small HTTP server for probes and Prometheus, on the event loop that does the work.

A blocked loop answers nothing, so the probe fails. A replica that waits for the lead is as ready as the leader.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

Check = Callable[[], str]
"""Returns what is wrong; empty if nothing is."""


def make_app(*, alive: Mapping[str, Check], ready: Mapping[str, Check], registry: CollectorRegistry) -> web.Application:
    """Return the application: /healthz and /readyz answer 200, or 503 with the problems; /metrics shows a registry."""
    app = web.Application()
    app.router.add_get("/healthz", _answer_by(alive))
    app.router.add_get("/readyz", _answer_by(ready))
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    return app


@asynccontextmanager
async def serving(app: web.Application, *, port: int, host: str | None = None) -> AsyncIterator[int]:
    """Serve on all interfaces, or on one; yield the port, which the system chooses for port 0."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer_by(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        problems = [f"{name}: {problem}" for name, check in checks.items() if (problem := check())]
        return web.Response(status=503 if problems else 200, text="\n".join(problems) or "ok")

    return answer
