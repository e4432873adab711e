"""A pool of equal engines, the replicas, which share the batches: each takes the next one as soon as it has room."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition

from kubedistill.errors import EngineLost
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.actor_engine import ActorEngine
from kubedistill_runtime.serving.engine import Completion, NoEngine, Sampling, Watch, ignore

log = logging.getLogger(__name__)


class EnginePool:
    """An Engine on several replicas; one that can't be started again is worked around."""

    def __init__(self, replicas: Sequence[ActorEngine]) -> None:
        self._replicas = list(replicas)
        self._busy = dict.fromkeys(range(len(replicas)), 0)
        """Batches of each replica that is in use."""
        self._waiting_alone = 0
        self._changed = Condition()

    @property
    def lanes(self) -> int:
        """The number of batches that all replicas answer at the same time."""
        return sum(replica.lanes for replica in self._replicas)

    @property
    def repeats(self) -> bool:
        """Whether replies depend on nothing but their batch."""
        return all(replica.lanes == 1 for replica in self._replicas)

    def start(self) -> None:
        """Start all replicas at the same time; raises as Engine.start."""
        with ThreadPoolExecutor(len(self._replicas), thread_name_prefix="replica") as threads:
            for started in [threads.submit(self._start, number) for number in range(len(self._replicas))]:
                started.result()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        watch: Watch = ignore,
        alone: bool = False,
    ) -> list[Completion]:
        """Answer prompts, as in Engine."""
        with self._started_replica(alone=alone) as replica:
            return replica.generate(prompts, sampling=sampling, seeds=seeds, watch=watch)

    def load_weights(self, model: Model) -> None:
        """Replace the weights of all replicas."""
        for number in self._busy:
            self._replicas[number].load_weights(model)

    def peak_bytes(self) -> int:
        """Return the peak memory of the largest replica's process, in bytes."""
        return max(self._replicas[number].peak_bytes() for number in self._busy)

    def close(self) -> None:
        """Stop all engines."""
        for number in self._busy:
            self._replicas[number].close()

    @contextmanager
    def _started_replica(self, *, alone: bool) -> Iterator[ActorEngine]:
        """Yield a replica that has room and whose engine runs; raises NoEngine if there is no such replica left."""
        while True:
            number = self._take(alone=alone)
            try:
                if self._start(number):
                    yield self._replicas[number]
                    return
            finally:
                self._give_back(number, alone=alone)

    def _start(self, number: int) -> bool:
        """Start a replica's engine if it does not run; False if another replica must do its work.

        Raises NoEngine if there is no other.
        """
        try:
            with contextlib.suppress(EngineLost):  # this may only show that its actor has died meanwhile
                self._replicas[number].start()
                return True
            self._replicas[number].start()
        except EngineLost as error:
            with self._changed:
                if set(self._busy) <= {number}:
                    raise NoEngine(error.problem, at=error.at, fix=error.fix) from error
                self._busy.pop(number, None)
                self._changed.notify_all()
            log.warning("a replica was lost; the others do its work", exc_info=error, extra={"replica": number})
            return False
        return True

    def _take(self, *, alone: bool) -> int:
        with self._changed:
            self._waiting_alone += alone
            while (number := self._find_room(alone=alone)) is None:
                self._changed.wait()
            self._waiting_alone -= alone
            self._busy[number] += self._replicas[number].lanes if alone else 1
            return number

    def _find_room(self, *, alone: bool) -> int | None:
        """Return the least busy replica with room for one batch, or with no other batch."""
        if not alone and self._waiting_alone:
            return None
        number = min(self._busy, key=lambda one: self._busy[one] / self._replicas[one].lanes)
        room = self._replicas[number].lanes - self._busy[number]
        return number if room >= (self._replicas[number].lanes if alone else 1) else None

    def _give_back(self, number: int, *, alone: bool) -> None:
        with self._changed:
            if number in self._busy:
                self._busy[number] -= self._replicas[number].lanes if alone else 1
            self._changed.notify_all()
