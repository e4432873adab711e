"""The watches: kopf lists and watches our objects, and every event goes to the handlers; no more of kopf is used.

Finalizers, timers, indexes and change handlers would write to objects or scale badly; on.event does neither.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kopf

from kubedistill.labels import MANAGED_BY
from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.api_errors import OperatorFailure
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.connection import Login
from kubedistill_operator.job import Key
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.event_handlers import EventHandlers

_CHILDREN = ("RayJob", "Job", "ConfigMap", "Pod")
_SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55)
_SPREAD = 0.1
"""Share of the resync interval over which its reconciles are spread, and by which the interval varies."""

log = logging.getLogger(__name__)


class _NoBase(kopf.DiffBaseStorage):
    """Stores no last-handled state: kopf would otherwise copy every object that it sees."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf handles nothing")


class _NoProgress(kopf.ProgressStorage):
    """Stores no progress of handlers, for the same reason."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf handles nothing")

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


@dataclass(slots=True)
class Streams:
    """The watches that we need, and whether they are open; kopf opens each one after its first list."""

    namespaces: Collection[str]
    """Empty: all."""
    _pending: set[str] = field(init=False)

    def __post_init__(self) -> None:
        spaces = self.namespaces or ("",)
        self._pending = {KINDS[kind].path(namespace=space) for kind in (KIND, *_CHILDREN) for space in spaces}

    def missing(self) -> str:
        """Return which watch was never open; empty if all were."""
        return f"the watch of {min(self._pending)} is not open yet" if self._pending else ""

    def note(self, url: str) -> None:
        """Note a request that the server has accepted; its URL may have a path of its own before ours."""
        request = urlsplit(url)
        if "watch" in parse_qs(request.query):
            self._pending = {path for path in self._pending if not request.path.endswith(path)}


async def watch(
    handlers: EventHandlers,
    *,
    login: Callable[[], Awaitable[Login]],
    identity: str,
    streams: Streams,
    stop: asyncio.Event,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Watch jobs, children, channels and pods until told to stop; otherwise raise what ended the watches."""
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(handlers, login=login, streams=streams),
        settings=_settings(),
        standalone=True,
        clusterwide=not streams.namespaces,
        namespaces=list(streams.namespaces),
        stop_flag=stop,
        # Without an identity kopf needs a user name, which the image lacks. It exports no type for the identity.
        identity=identity,  # type: ignore[arg-type]
    )
    started()  # kopf has replaced the signal handlers; the caller restores its own
    await kopf.run_tasks(tasks, ignored=before)


async def resync(
    controller: Controller,
    *,
    settings: Settings,
    sleep: Callable[[float], Awaitable[None]],
    random_fraction: Callable[[], float] = random.random,
) -> None:
    """Periodically reconcile all jobs, whatever the watches said, and forget those that are gone."""
    while True:
        spread = _SPREAD * settings.resync_seconds
        await sleep(settings.resync_seconds - spread * random_fraction())
        known = [key for key, _ in controller.cache]
        try:
            there = await _names(controller.cluster, settings.watch_namespaces)
        except OperatorFailure as error:
            log.warning("resync skipped: %s", error)
            continue
        for key in known:
            if key not in there:
                controller.forget(key)
        for key in sorted(there):
            controller.resync(key)
            await sleep(spread / len(there))


async def _names(cluster: Cluster, namespaces: Collection[str]) -> set[Key]:
    """Return the keys of all jobs."""
    found = [await cluster.names(KIND, namespace=namespace) for namespace in namespaces or ("",)]
    return set().union(*found)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.error_backoffs = _BACKOFFS
    settings.networking.request_timeout = 60.0
    settings.process.ultimate_exiting_timeout = None
    for kind in _CHILDREN:
        settings.watching.label_selectors[_resource(kind)] = _SELECTOR
    return settings


def _registry(
    handlers: EventHandlers, *, login: Callable[[], Awaitable[Login]], streams: Streams
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    for kind, see in (
        (KIND, handlers.on_job),
        ("RayJob", handlers.on_child),
        ("Job", handlers.on_child),
        ("ConfigMap", handlers.on_channel),
        ("Pod", handlers.on_pod),
    ):
        kopf.on.event(*_resource(kind), id=f"see-{kind}", registry=registry)(_handler(see))
    sessions: dict[Login, kopf.AiohttpSession] = {}

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        found = await login()
        if found not in sessions:
            sessions.clear()
            session = found.open_session(accepted=streams.note)
            sessions[found] = kopf.AiohttpSession(server=found.server, aiohttp_session=session)
        return sessions[found]  # kopf gives up if it gets the same credentials again after a refusal

    return registry


def _resource(kind: str) -> tuple[str, str, str]:
    """Return (group, version, plural) of a kind."""
    found = KINDS[kind]
    return found.group, found.api_version.rpartition("/")[2], found.plural


def _handler(see: Callable[[str | None, Any], None]) -> Callable[..., Awaitable[None]]:
    async def handle(event: Any, **_: Any) -> None:
        see(event["type"], event["object"])

    return handle
