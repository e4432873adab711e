"""One replica of the operator: it waits for the lead, leads, and leaves when it is told to or may lead no longer."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from kubedistill.errors import NotInstalled
from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.client import WRITE_SECONDS, Cluster, Connection
from kubedistill_operator.cluster.execution import Executor
from kubedistill_operator.cluster.failures import LeaseLost, Transient
from kubedistill_operator.cluster.lease import REQUEST_SECONDS, Lease
from kubedistill_operator.cluster.observation import Observer
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.event_handlers import EventHandlers
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.loop.watch import Streams, resync, watch
from kubedistill_operator.loop.workqueue import WorkQueue
from kubedistill_operator.telemetry.health import make_app, serving
from kubedistill_operator.telemetry.metrics import Metrics

LEASE_NAME = "kubedistill-operator"
_STUCK_SECONDS, _DRAIN_SECONDS = 300.0, 10.0
_TRIES, _TRY_SECONDS = 5, 2.0
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What one replica is told besides the settings."""

    kubeconfig: Path | None = None
    lease_namespace: str | None = None
    """Where the Lease is; None for the namespace that we run in."""
    lease_name: str = LEASE_NAME
    """Replicas of one release have one Lease; another release in the same namespace has another."""
    alone: bool = False
    """Lead without a Lease; only where there is no other replica."""


@dataclass(slots=True)
class Replica:
    """The parts of one replica, put together."""

    settings: Settings
    options: Options
    exit_now: Callable[[int], NoReturn] = os._exit
    """Ends the process at once: what is under way must not write any more."""
    metrics: Metrics = field(default_factory=Metrics)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _unready: Callable[[], str] = lambda: "the API server was not reached yet"

    async def run(self) -> None:
        """Live until SIGTERM or SIGINT.

        Raises InvalidInput without a way to a cluster, NotInstalled without our CRD or KubeRay's, and Transient where
        the API server stays away.
        """
        self._take_signals()
        connection = await Connection.find(self.options.kubeconfig)
        lease_cluster = self._open(connection, write_deadline=lambda: REQUEST_SECONDS)
        pod = os.environ.get("POD_UID", "")
        identity = "_".join(part for part in (socket.gethostname(), pod, uuid.uuid4().hex[:8]) if part)
        namespace = self.options.lease_namespace or own_namespace()
        lease = Lease(lease_cluster, namespace, self.options.lease_name, identity, pod)
        cluster = self._open(
            connection, write_deadline=(lambda: WRITE_SECONDS) if self.options.alone else lease.write_deadline
        )
        controller = make_controller(cluster, settings=self.settings, metrics=self.metrics)
        self.metrics.watch(
            controller.cache.metrics,
            depth=lambda: controller.queue.depth,
            leads=lambda: self.options.alone or lease.leads,
        )
        app = make_app(
            alive={"reconcile": lambda: _stuck(controller)},
            ready={"replica": self._check_ready},
            registry=self.metrics.registry,
        )
        async with lease_cluster, cluster, serving(app, port=self.settings.port):
            if not await self._unless_stopped(check_installed(cluster)):
                return
            self._unready = lambda: "" if lease.follows else lease.problem or "no other replica renews the Lease"
            if not self.options.alone and not await self._unless_stopped(lease.acquire()):
                return
            log.info("leads the cluster at %s", connection.server)
            await self._lead(controller, lease=lease, connection=connection)

    async def _lead(self, controller: Controller, *, lease: Lease, connection: Connection) -> None:
        """Work until told to stop, or until a part of us ends by itself, which none may."""
        streams = Streams(self.settings.watch_namespaces)
        self._unready = streams.missing
        leave_watch = asyncio.Event()
        work = [controller.run(), resync(controller, settings=self.settings, sleep=asyncio.sleep)]
        if not self.options.alone:
            work.append(lease.hold())
        parts = [asyncio.create_task(part) for part in work]
        follow = asyncio.create_task(
            watch(
                EventHandlers(controller),
                login=connection.log_in,
                identity=lease.identity,
                streams=streams,
                stop=leave_watch,
                started=self._take_signals,
            )
        )
        told = asyncio.create_task(self._stop.wait())
        await asyncio.wait({told, follow, *parts}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            self._give_up([part for part in (follow, *parts) if part.done()])
        log.info("leaves")
        await controller.drain(_DRAIN_SECONDS)
        await lease.release()
        leave_watch.set()
        for part in parts:
            part.cancel()
        await asyncio.gather(follow, *parts, return_exceptions=True)

    def _give_up(self, ended: list["asyncio.Task[None]"]) -> NoReturn:
        """End the process for a part that ended: whoever restarts it starts with a clear head."""
        for part in ended:
            error = part.exception()
            if _is_lease_lost(error):
                log.critical("the lease is lost, another replica may lead: this one ends")
            else:
                log.critical("a part of the operator ended: %r", error, exc_info=error)
        sys.stderr.flush()
        self.exit_now(1)

    async def _unless_stopped(self, step: Coroutine[None, None, None]) -> bool:
        """Whether a step ended before we were told to stop; it is given up if it did not."""
        task, told = asyncio.create_task(step), asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    def _check_ready(self) -> str:
        """Why we neither lead nor follow yet; empty where we do."""
        return self._unready()

    def _open(self, connection: Connection, *, write_deadline: Callable[[], float]) -> Cluster:
        host = connection.server.rpartition("://")[2]
        return Cluster(
            connection.configuration,
            write_deadline=write_deadline,
            on_request=lambda method, code: self.metrics.count_request(method, code, host=host),
        )

    def _take_signals(self) -> None:
        """Be told by SIGTERM and SIGINT; kopf takes them too when it starts, and these are taken back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


def make_controller(cluster: Cluster, *, settings: Settings, metrics: Metrics) -> Controller:
    """A controller with an empty queue and table."""
    return Controller(
        cluster=cluster,
        queue=WorkQueue(),
        cache=JobCache(settings.storage),
        observer=Observer(cluster, settings, time.time),
        executor=Executor(cluster, time.time, socket.gethostname()),
        metrics=metrics,
        settings=settings,
        clock=time.time,
    )


async def check_installed(cluster: Cluster) -> None:
    """Raise NotInstalled unless the server knows our kind and KubeRay's; waits a little for one that is away or new."""
    fixes = {KIND: "Apply crds/, or install the chart with its CRDs", "RayJob": "Install KubeRay 1.7 or later"}
    for kind, fix in fixes.items():
        for left in reversed(range(_TRIES)):
            try:
                if await cluster.serves(kind):
                    break
                if not left:
                    raise NotInstalled(f"the cluster knows no {kind}", fix=fix)
            except Transient:
                if not left:
                    raise
            await asyncio.sleep(_TRY_SECONDS)


def own_namespace() -> str:
    """The namespace that we run in, as far as we can tell."""
    named = os.environ.get("POD_NAMESPACE", "")
    return named or (_OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default")


def _stuck(controller: Controller) -> str:
    seconds = controller.longest()
    return f"one runs for {seconds:.0f} s" if seconds > _STUCK_SECONDS else ""


def _is_lease_lost(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(LeaseLost) is not None
    return isinstance(error, LeaseLost)
