"""What a kubelet does for the operator's pod: whenever its process ends, another one is started."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from support.kube_api import wait_for
from support.operator_process import Replica

PAUSE_SECONDS, PATIENCE_SECONDS = 0.5, 120.0
OK = 200


@dataclass
class Supervisor:
    """Keeps one process running; `launch` starts the one of a number."""

    launch: Callable[[int], Replica]
    replicas: list[Replica] = field(default_factory=list)
    """All that were started, the one that runs last."""
    exits: list[int] = field(default_factory=list)
    """How they ended, in the words of subprocess: minus the signal, or the exit code."""
    _over: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def kill(self, *, seconds: float, at_work: bool = True) -> None:
        """SIGKILL one that has worked for so many seconds, or has only been started so long ago, and see the next."""
        while True:
            if at_work:
                wait_for(self._is_ready, what="the operator is ready", seconds=PATIENCE_SECONDS)
            victim = self.replicas[-1]
            self._over.wait(seconds)
            with self._lock:
                if victim is self.replicas[-1] and victim.process.poll() is None:  # else it has ended by itself
                    victim.process.send_signal(signal.SIGKILL)
                    break
        wait_for(lambda: self.replicas[-1] is not victim, what="another one is started", seconds=PATIENCE_SECONDS)

    def _is_ready(self) -> bool:
        return self.replicas[-1].probe("/readyz") == OK

    def keep(self) -> None:
        """Start one after another until it is over."""
        while not self._over.is_set():
            with self._lock:
                self.replicas.append(self.launch(len(self.replicas)))
            while (code := self.replicas[-1].process.poll()) is None and not self._over.is_set():
                time.sleep(0.05)
            if code is not None:
                self.exits.append(code)
                self._over.wait(PAUSE_SECONDS)
        self.replicas[-1].process.kill()
        self.replicas[-1].process.wait()

    def end(self) -> None:
        self._over.set()


@contextmanager
def supervising(launch: Callable[[int], Replica]) -> Iterator[Supervisor]:
    """Keep a process running until the context ends."""
    supervisor = Supervisor(launch)
    thread = Thread(target=supervisor.keep, name="supervisor")
    thread.start()
    while not supervisor.replicas and thread.is_alive():
        time.sleep(0.05)
    try:
        yield supervisor
    finally:
        supervisor.end()
        thread.join()
