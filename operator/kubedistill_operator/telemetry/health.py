"""Health: one small HTTP server for probes and Prometheus, in the loop that does the work.

A loop that is blocked answers nothing, so that the probe fails; a replica that waits for the lead is as ready as the
leader.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

Check = Callable[[], str]
"""What is wrong; empty where nothing is."""


def make_app(*, alive: Mapping[str, Check], ready: Mapping[str, Check], registry: CollectorRegistry) -> web.Application:
    """/healthz and /readyz answer 200, or 503 with what is wrong; /metrics shows a registry."""
    app = web.Application()
    app.router.add_get("/healthz", _answer_by(alive))
    app.router.add_get("/readyz", _answer_by(ready))
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    return app


@asynccontextmanager
async def serving(app: web.Application, *, port: int, host: str | None = None) -> AsyncIterator[int]:
    """Serve on all interfaces, or on one; gives the port, which is chosen where 0 is asked for."""
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
