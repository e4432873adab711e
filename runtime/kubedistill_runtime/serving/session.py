"""The local session: one Ray instance and one engine actor, with cleanup even after a kill."""

import contextlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from kubedistill.errors import EngineLost, KubedistillError
from kubedistill_runtime.dependencies import missing_dependency
from kubedistill_runtime.hub import Report, no_report
from kubedistill_runtime.root_cause import describe_cause, find_root_cause
from kubedistill_runtime.serving.actor_engine import ActorEngine
from kubedistill_runtime.serving.engine import Engine, Serving, Worked, no_account
from kubedistill_runtime.serving.engine_pool import EnginePool
from kubedistill_runtime.serving.hardware import describe_processor, has_accelerators
from kubedistill_runtime.serving.processes import descendants, end_processes, record_session, session_processes
from kubedistill_runtime.serving.refusals import is_lost
from kubedistill_runtime.serving.replica import Replica

if TYPE_CHECKING:
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 2**20  # shards are pickles of a few MB; larger data goes through storage
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",  # idle workers of 100 MB each that nobody uses
    "RAY_enable_worker_prestart": "0",
    "RAY_TRAIN_ENABLE_V2": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # by default 15, so that everything else on the machine goes before the engine
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine needs more than Ray's 30
    "RAY_gcs_server_port_wait_time_s": "120",
}
_RAY_STARTS = 2


class LocalEngines:
    """Starts Ray and the engine actor on demand, on this machine or in the Ray cluster that the environment names.

    `leftovers` is the file that records the processes to clean up after a kill; with `ahead`, warm() starts the actor.
    """

    def __init__(self, *, leftovers: Path, ahead: bool) -> None:
        self._leftovers, self._ahead = leftovers, ahead
        # Ray's processes are killed when the thread that started them ends, so one thread starts them and stays alive.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ray-starter")
        self._folder: str | None = None
        self._replicas = [Replica(in_cluster="RAY_ADDRESS" in os.environ)]
        """The first one is used by all engines, one after another."""

    def warm(self) -> None:
        """Start the session, and its actor in the background, if later stages share them."""
        if self._ahead:
            with contextlib.suppress(EngineLost):  # the stage that needs it tries again, and fails if that fails
                self.start_ray()  # imports of the caller would delay it, and with it the actor, which starts for 15 s
                self._starter.submit(self._replicas[0].actor, gpus=1)

    def start_ray(self) -> None:
        """Start a Ray session, unless there is one."""
        self._starter.submit(self._start_ray).result()

    def actor(self, *, gpus: int = 1, lanes: int | None = None, replica: int = 0) -> "ActorHandle":
        """Return the actor of a replica, and start it if there is none; in a cluster with GPUs it reserves `gpus`.

        It takes `lanes` calls at once, or any number.
        """
        self.start_ray()
        return self._replicas[replica].actor(gpus=gpus, lanes=lanes)

    def gpus(self) -> int | None:
        """Return the number of GPUs of the Ray session; None if there is no session."""
        ray = sys.modules.get("ray")  # a stage that needs no Ray doesn't wait for its import
        return int(ray.cluster_resources().get("GPU", 0)) if ray is not None and ray.is_initialized() else None

    def hardware(self, *, gpus: int) -> str:
        """Return the hardware of an engine with this number of GPUs, from its actor unless this is a CPU machine."""
        if "RAY_ADDRESS" not in os.environ and not has_accelerators():
            return describe_processor()
        import ray

        with self.using_actor(gpus=gpus, at="Ray") as actor:
            found: str = ray.get(actor.hardware.remote(gpus))
        return found

    @contextlib.contextmanager
    def using_actor(self, *, gpus: int, at: str, lanes: int | None = None, replica: int = 0) -> Iterator["ActorHandle"]:
        """Yield the actor of a replica for calls; raises its KubedistillErrors, MissingDependency and EngineLost.

        If the actor, its device or its workers died, it is ended, and the next call starts another.
        """
        from ray.exceptions import OutOfMemoryError, RayError

        actor: ActorHandle | None = None
        try:
            actor = self.actor(gpus=gpus, lanes=lanes, replica=replica)
            yield actor
        except EngineLost:  # there is no room for the actor, or the caller found that its engine hangs
            self._replicas[replica].lose(actor)
            raise
        except RayError as error:
            if (missing := missing_dependency(error, at=at)) is not None:
                raise missing from error
            root = find_root_cause(error)
            if is_lost(error) or isinstance(error, OutOfMemoryError):
                self._replicas[replica].lose(actor)
            elif not isinstance(root, KubedistillError):
                raise
            log.warning("the engine was lost or refused the model", exc_info=error)
            if isinstance(root, KubedistillError):
                raise root from error
            raise EngineLost(f"the inference engine died: {describe_cause(error)}", at=at, fix="Start again") from error

    @contextlib.contextmanager
    def open(self, serving: Serving, *, report: Report = no_report, worked: Worked = no_account) -> Iterator[Engine]:
        """Start an engine for a model; it is stopped when the context ends."""
        count = serving.replicas if self._replicas[0].in_cluster else 1  # one machine has nothing for others
        self._replicas += [Replica(in_cluster=True) for _ in range(count - len(self._replicas))]
        reporting = Lock()

        def report_one(done: int, total: int) -> None:
            with reporting:
                report(done, total)

        pool = EnginePool(
            [self._open_replica(number, serving, report=report_one, worked=worked) for number in range(count)]
        )
        try:
            yield pool
        finally:
            pool.close()
            for replica in self._replicas[1:]:
                replica.release()

    def _open_replica(self, number: int, serving: Serving, *, report: Report, worked: Worked) -> ActorEngine:
        def using_actor(serving: Serving) -> AbstractContextManager["ActorHandle"]:
            at = serving.model.source
            return self.using_actor(gpus=serving.gpus, at=at, lanes=serving.lanes, replica=number)

        made_tokens = partial(worked, number, serving.gpus)
        return ActorEngine(serving, using_actor=using_actor, made_tokens=made_tokens, report=report)

    def close(self) -> None:
        """Stop everything that was started."""
        for replica in self._replicas:
            replica.release()
        self._starter.submit(self._stop).result()
        self._starter.shutdown()

    def _stop(self) -> None:
        if self._folder is None:
            return
        import ray

        started = descendants()
        ray.shutdown()
        end_processes(started)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._leftovers.unlink(missing_ok=True)

    def _start_ray(self) -> None:
        """Start Ray or join the cluster's, with one retry; raises EngineLost with the cause."""
        import ray

        if ray.is_initialized():
            return
        os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
        for start in range(1, _RAY_STARTS + 1):
            try:
                self._init_ray()
                return
            except Exception as error:  # Ray raises plain Exceptions here, mostly on a busy machine
                log.warning("Ray did not start", exc_info=error, extra={"start": start})
                self._sweep_ray()
                if start == _RAY_STARTS:
                    problem = f"Ray did not start in {_RAY_STARTS} attempts: {describe_cause(error)}"
                    fix = "Start again when this machine is less busy, or check its memory and /tmp"
                    raise EngineLost(problem, at="Ray", fix=fix) from error

    def _init_ray(self) -> None:
        import ray

        if "RAY_ADDRESS" in os.environ:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
            return
        # Without this token, Ray would write one into the home folder, which may be read-only.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        self._folder = tempfile.mkdtemp(prefix="kd-")  # short: Ray puts sockets below it
        record_session(self._leftovers, folder=self._folder)
        ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            _temp_dir=self._folder,
            _node_ip_address="127.0.0.1",
        )

    def _sweep_ray(self) -> None:
        """Clean up after a failed start."""
        import ray

        ray.shutdown()
        if self._folder is not None:
            end_processes(session_processes(self._folder))
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            self._leftovers.unlink(missing_ok=True)
