"""The watches: kopf lists and follows what concerns us, every event goes to the intake, and that is all we use of kopf.

Finalizers, timers, indexes and change handlers would write to objects or scale badly; on.event does neither.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import kopf

from kubedistill.settings import Settings
from kubedistill.v1alpha1 import GROUP, KIND, PLURAL, VERSION
from kubedistill_operator.cluster.client import Cluster, Login, uses_proxy
from kubedistill_operator.cluster.failures import OperatorFailure
from kubedistill_operator.job import Key
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.intake import Intake
from kubedistill_operator.names import MANAGED_BY

_SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55)
_SPREAD = 0.1
"""Part of the resync interval over which its looks are spread, and by which the interval varies."""

log = logging.getLogger(__name__)


class _NoBase(kopf.DiffBaseStorage):
    """No memory of what was handled: kopf would copy every object that it sees, to compare it with nothing."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("nothing is ever handled by kopf")


class _NoProgress(kopf.ProgressStorage):
    """No memory of how far a handler is, for the same reason."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("nothing is ever handled by kopf")

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


async def watch(
    intake: Intake, *, login: Callable[[], Awaitable[Login]], namespaces: Collection[str], stop: asyncio.Event,
    started: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Follow jobs, children, channels and pods until told to stop; raises what ended it otherwise."""
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(intake, login=login), settings=_settings(), standalone=True, clusterwide=not namespaces,
        namespaces=list(namespaces), stop_flag=stop,
    )  # fmt: skip
    started()  # kopf has taken the signals; whoever had them takes them back here
    await kopf.run_tasks(tasks, ignored=before)


async def resync(
    controller: Controller, *, settings: Settings, sleep: Callable[[float], Awaitable[None]],
    chance: Callable[[], float] = random.random,
) -> None:  # fmt: skip
    """Every now and then look at all jobs anew, whatever the watches said, and forget those that are gone."""
    while True:
        spread = _SPREAD * settings.resync_seconds
        await sleep(settings.resync_seconds - spread * chance())
        known = [key for key, _ in controller.table]
        try:
            there = await _names(controller.cluster, settings.watch_namespaces)
        except OperatorFailure as error:
            log.warning("no resync: %s", error)
            continue
        for key in known:
            if key not in there:
                controller.forget(key)
        for key in sorted(there):
            controller.resync(key)
            await sleep(spread / len(there))


async def _names(cluster: Cluster, namespaces: Collection[str]) -> set[Key]:
    """All jobs that there are."""
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
    settings.networking.trust_env = uses_proxy()
    settings.process.ultimate_exiting_timeout = None
    for resource in (
        ("ray.io", "v1", "rayjobs"),
        ("batch", "v1", "jobs"),
        ("", "v1", "configmaps"),
        ("", "v1", "pods"),
    ):
        settings.watching.label_selectors[resource] = _SELECTOR
    return settings


def _registry(intake: Intake, *, login: Callable[[], Awaitable[Login]]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    for group, version, plural, see in (
        (GROUP, VERSION, PLURAL, intake.see_job),
        ("ray.io", "v1", "rayjobs", intake.see_child),
        ("batch", "v1", "jobs", intake.see_child),
        ("", "v1", "configmaps", intake.see_channel),
        ("", "v1", "pods", intake.see_pod),
    ):
        kopf.on.event(group, version, plural, id=f"see-{plural}", registry=registry)(_handler(see))

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        found = await login()
        return kopf.ConnectionInfo(
            server=found.server, ca_path=found.ca_path, insecure=found.insecure or None, token=found.token,
            certificate_path=found.certificate_path, private_key_path=found.key_path,
            trust_env=uses_proxy(),
        )  # fmt: skip

    return registry


def _handler(see: Callable[[str | None, Any], None]) -> Callable[..., Awaitable[None]]:
    async def handle(event: Any, **_: Any) -> None:
        see(event["type"], event["object"])

    return handle
