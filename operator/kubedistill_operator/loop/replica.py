"""One replica of the operator: waits for the Lease, leads, and exits if it is asked to or loses the Lease."""

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from kubedistill.errors import NotInstalled
from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.api_errors import LeaseLost, Transient
from kubedistill_operator.cluster.client import WRITE_SECONDS, Cluster
from kubedistill_operator.cluster.connection import Connection
from kubedistill_operator.cluster.execution import Executor
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
    """The options of one replica, besides the settings."""

    kubeconfig: Path | None = None
    lease_namespace: str | None = None
    """Where the Lease is; None for the namespace that we run in."""
    lease_name: str = LEASE_NAME
    """Replicas of one release share a Lease; another release in the same namespace has another one."""
    alone: bool = False
    """Lead without a Lease; only if there is no other replica."""


@dataclass(slots=True)
class Replica:
    """The parts of one replica."""

    settings: Settings
    options: Options
    exit_now: Callable[[int], NoReturn] = os._exit
    """Ends the process at once: running requests must not write anymore."""
    metrics: Metrics = field(default_factory=Metrics)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _unready: Callable[[], str] = lambda: "the API server has not been reached yet"

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises InvalidInput if no cluster can be found, NotInstalled without our CRD or KubeRay's, and Transient if the
        API server remains unreachable.
        """
        self._handle_signals()
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
            log.info("this replica leads the cluster at %s", connection.server)
            await self._lead(controller, lease=lease, connection=connection)

    async def _lead(self, controller: Controller, *, lease: Lease, connection: Connection) -> None:
        """Work until told to stop, or until a part ends by itself, which is an error."""
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
                started=self._handle_signals,
            )
        )
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopped, follow, *parts}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            self._exit_for([part for part in (follow, *parts) if part.done()])
        log.info("this replica stops")
        await controller.drain(_DRAIN_SECONDS)
        await lease.release()
        leave_watch.set()
        for part in parts:
            part.cancel()
        await asyncio.gather(follow, *parts, return_exceptions=True)

    def _exit_for(self, ended: list["asyncio.Task[None]"]) -> NoReturn:
        """End the process because a part ended: a new process starts from a clean state."""
        for part in ended:
            error = part.exception()
            if _is_lease_lost(error):
                log.critical("the lease is lost and another replica may lead: this one exits")
            else:
                log.critical("a part of the operator ended: %r", error, exc_info=error)
        sys.stderr.flush()
        self.exit_now(1)

    async def _unless_stopped(self, step: Coroutine[None, None, None]) -> bool:
        """Return whether a step ended before we were told to stop; otherwise the step is cancelled."""
        task, stopped = asyncio.create_task(step), asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    def _check_ready(self) -> str:
        """Return why we neither lead nor follow yet; empty if we do."""
        return self._unready()

    def _open(self, connection: Connection, *, write_deadline: Callable[[], float]) -> Cluster:
        host = connection.server.rpartition("://")[2]
        return Cluster(
            connection.configuration,
            write_deadline=write_deadline,
            on_request=lambda method, code: self.metrics.count_request(method, code, host=host),
        )

    def _handle_signals(self) -> None:
        """Handle SIGTERM and SIGINT; kopf replaces the handlers when it starts, and this restores them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


def make_controller(cluster: Cluster, *, settings: Settings, metrics: Metrics) -> Controller:
    """Return a controller with an empty queue and cache."""
    return Controller(
        cluster=cluster,
        queue=WorkQueue(),
        cache=JobCache(settings.storage),
        observer=Observer(cluster, settings, cluster.clock),
        executor=Executor(cluster, cluster.clock, socket.gethostname()),
        metrics=metrics,
        settings=settings,
        clock=cluster.clock,
    )


async def check_installed(cluster: Cluster) -> None:
    """Raise NotInstalled unless the server knows our kind and KubeRay's; retry for a short time."""
    fixes = {KIND: "Apply crds/, or install the chart with its CRDs", "RayJob": "Install KubeRay 1.7 or later"}
    for kind, fix in fixes.items():
        for left in reversed(range(_TRIES)):
            try:
                if await cluster.serves(kind):
                    break
                if not left:
                    raise NotInstalled(f"the cluster does not know {kind}", fix=fix)
            except Transient:
                if not left:
                    raise
            await asyncio.sleep(_TRY_SECONDS)


def own_namespace() -> str:
    """Return the namespace that we run in, or our best guess."""
    named = os.environ.get("POD_NAMESPACE", "")
    return named or (_OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default")


def _stuck(controller: Controller) -> str:
    seconds = controller.longest_reconcile()
    return f"one has been running for {seconds:.0f} s" if seconds > _STUCK_SECONDS else ""


def _is_lease_lost(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(LeaseLost) is not None
    return isinstance(error, LeaseLost)
