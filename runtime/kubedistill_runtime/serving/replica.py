"""A replica: the place of one copy of an engine, and its actor, which is started again there if it dies."""

import contextlib
import logging
from threading import Lock
from typing import TYPE_CHECKING

from kubedistill.errors import EngineLost
from kubedistill_runtime.serving.placement import ANYWHERE, START_SECONDS, Place, reserve

if TYPE_CHECKING:
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)
_RESTART_SECONDS = 60.0
"""How long a lost replica waits for other GPUs, before the others do its work."""


class Replica:
    """Starts the actor of one copy of an engine on demand; an actor that replaces a dead one uses the same GPUs."""

    def __init__(self, *, in_cluster: bool) -> None:
        self.in_cluster = in_cluster
        self._starting = Lock()
        self._place: Place | None = None
        self._actor: ActorHandle | None = None
        self._lanes = 1

    def actor(self, *, gpus: int, lanes: int | None = None) -> "ActorHandle":
        """Return an actor that takes this number of calls at once, or any number; start it if there is none.

        Raises EngineLost if the cluster has no room for it.
        """
        with self._starting:
            if self._actor is not None and lanes not in (None, self._lanes):
                self._end()
            if self._actor is None:
                self._lanes = lanes or 1
                self._actor = self._start(gpus=gpus)
            return self._actor

    def lose(self, actor: "ActorHandle | None") -> None:
        """End an actor that died or whose device failed, unless it was replaced meanwhile."""
        with self._starting:
            if self._actor is actor:
                self._end()

    def release(self) -> None:
        """End the actor, and give back what is reserved for it."""
        with self._starting:
            self._end()
            self._give_back()

    def _end(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None:
            import ray
            from ray.exceptions import RayError

            with contextlib.suppress(RayError):  # Ray may have died too
                ray.kill(actor)

    def _give_back(self) -> None:
        if self._place is not None:
            self._place.release()
            self._place = None

    def _start(self, *, gpus: int) -> "ActorHandle":
        import ray

        from kubedistill_runtime.serving.vllm_engine import VllmActor

        restarted = self._place is not None
        if self._place is None:
            self._place = reserve(gpus) if self.in_cluster else Place(ANYWHERE)
        try:
            self._place.wait(seconds=_RESTART_SECONDS if restarted else START_SECONDS)
        except EngineLost:
            self._give_back()
            raise
        log.info("engine process starting")
        return ray.remote(**self._place.options, max_concurrency=self._lanes)(VllmActor).remote()
