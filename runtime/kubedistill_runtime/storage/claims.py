"""Claims: fencing tokens, so that a driver that was replaced can't overwrite the work of its successor.

Under a prefix, which is the folder of the artifact in the making, `claims/<n>` is an empty file per driver and
`steps/<n>-<step>` the state of its training after a step. A driver takes the next number n. A resumed training starts
from the highest (n, step), so a state that an older driver still writes never comes before one of its successor.
Every function raises what the store raises.
"""

import math
from dataclasses import dataclass

from kubedistill_runtime.storage.store import Store


@dataclass(frozen=True, slots=True)
class Claim:
    """One driver's number among the drivers that worked on an artifact."""

    store: Store
    prefix: str
    """Folder in the store."""
    number: int
    """Counted from 1."""

    def save(self, step: int, data: bytes, *, keep_last: int) -> None:
        """Publish the state after a step, and keep only the `keep_last` highest states of all drivers.

        States of an older driver come before those of its successor, so they are removed first.
        """
        self.store.put_if_absent(f"{self.prefix}/steps/{self.number:06d}-{step:09d}", data)
        for name in self.store.names(f"{self.prefix}/steps")[:-keep_last]:
            self.store.delete(name)


def take_claim(store: Store, prefix: str) -> Claim:
    """Take the next number; of several drivers each gets its own."""
    taken = [int(name.rpartition("/")[2]) for name in store.names(f"{prefix}/claims")]
    number = max(taken, default=0) + 1
    while not store.put_if_absent(f"{prefix}/claims/{number:06d}", b""):
        number += 1
    return Claim(store, prefix, number)


def remove_states(store: Store, prefix: str) -> None:
    """Remove all states and unfinished files; call this after the result is published."""
    store.delete(f"{prefix}/steps")
    store.sweep(prefix, seconds=-math.inf)  # a driver that still writes came too late


def read_latest(store: Store, prefix: str) -> bytes | None:
    """Return the state with the highest (n, step), or None if no state was saved."""
    names = store.names(f"{prefix}/steps")
    return store.read(names[-1]) if names else None
