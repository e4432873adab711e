"""Claims: the fence that keeps a driver which lost its place from overtaking the one that took it.

A driver takes the next number n; what it saves is `steps/<n>-<step>`, and whoever resumes takes the highest
(n, step). So nothing that an older driver still writes is ever resumed past its successor's work.
"""

import math
from dataclasses import dataclass

from kubedistill_runtime.storage.store import Store


@dataclass(frozen=True, slots=True)
class Claim:
    """One driver's place in the line of those that worked on an artifact."""

    store: Store
    prefix: str
    number: int

    def save(self, step: int, data: bytes, *, keep_last: int) -> None:
        """Publish the state after a step, and drop all but the last few states of the line."""
        self.store.put_if_absent(f"{self.prefix}/steps/{self.number:06d}-{step:09d}", data)
        for name in self.store.names(f"{self.prefix}/steps")[:-keep_last]:
            self.store.delete(name)


def take_claim(store: Store, prefix: str) -> Claim:
    """Take the next number of a line; of several drivers each gets its own."""
    taken = [int(name.rpartition("/")[2]) for name in store.names(f"{prefix}/claims")]
    number = max(taken, default=0) + 1
    while not store.put_if_absent(f"{prefix}/claims/{number:06d}", b""):
        number += 1
    return Claim(store, prefix, number)


def end_line(store: Store, prefix: str) -> None:
    """Remove the states of a line whose work is published, and what its drivers left unfinished."""
    store.delete(f"{prefix}/steps")
    store.sweep(prefix, seconds=-math.inf)  # a driver that still writes has lost to the one that published


def read_latest(store: Store, prefix: str) -> bytes | None:
    """The state with the highest (n, step), or None where nothing was saved."""
    names = store.names(f"{prefix}/steps")
    return store.read(names[-1]) if names else None
