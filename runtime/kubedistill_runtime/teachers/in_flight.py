"""In flight: the rows that a driver is asking an endpoint for, so that a kill shows how many replies it may have lost.

`rows/<model key>/in-flight/<driver>` lists the rows of a driver and is written before they are asked; if the driver is
gone, `rows/<model key>/unaccounted/<driver>.json` takes its place, with the number of requests that may be lost.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel

from kubedistill_runtime.records import open_turns
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.storage.unfinished import is_abandoned, unfinished_name
from kubedistill_runtime.teachers.cache import Row

_PREFIX = "driver-"
_SILENT_SECONDS = 10.0
"""A driver elsewhere whose file does not change for so long is gone; a live one writes it every few seconds."""


class _Driver(BaseModel):
    """The file of a driver."""

    beat: int = 0
    requests: dict[str, int] = {}
    """By row key: one for each turn."""


class _Lost(BaseModel):
    requests: int


@dataclass(slots=True)
class InFlight:
    """The rows in flight of this driver."""

    store: Store
    key: str
    _name: str = field(init=False)
    _driver: _Driver = field(default_factory=_Driver, init=False)

    def __post_init__(self) -> None:
        self._name = f"{_folder(self.key)}/{unfinished_name(_PREFIX)}"

    def begin(self, rows: Iterable[Row]) -> None:
        """Note rows, in the store, before they are asked."""
        self._driver.requests |= {row.key: len(open_turns(row.record)) for row in rows}
        self.beat()

    def done(self, row_keys: Iterable[str]) -> None:
        """Forget rows whose answers are stored, from the next beat on."""
        for row_key in row_keys:
            self._driver.requests.pop(row_key, None)

    def beat(self) -> None:
        """Write the rows, and that this driver is alive."""
        self._driver.beat += 1
        self.store.put(self._name, self._driver.model_dump_json().encode())

    def end(self, *, asked: Collection[str]) -> None:
        """Count rows that were asked and not answered as unaccounted, and remove the file."""
        lost = sum(self._driver.requests.get(row_key, 0) for row_key in asked)
        _replace(self.store, self._name, key=self.key, requests=lost)


def settle_lost(store: Store, key: str, *, known: Collection[str], sleep: Callable[[float], None] = time.sleep) -> None:
    """Count the rows in flight of drivers that are gone as unaccounted, except those whose answers are stored.

    Call it before any of these rows is asked again.
    """
    names = store.names(_folder(key))
    gone = {name for name in names if is_abandoned(store.path(name), prefix=_PREFIX, seconds=math.inf)}
    beats = {name: _read(store, name).beat for name in names if name not in gone}
    if beats:  # of another machine, or alive: only time shows which
        sleep(_SILENT_SECONDS)
    gone |= {name for name, beat in beats.items() if _read(store, name).beat == beat}
    for name in sorted(gone):
        requests = _read(store, name).requests
        _replace(store, name, key=key, requests=sum(n for row_key, n in requests.items() if row_key not in known))


def count_lost(store: Store, key: str) -> int:
    """Return the number of requests, at most, whose replies were lost with the drivers that are gone."""
    return sum(_Lost.model_validate_json(store.read(name)).requests for name in store.names(_lost_folder(key)))


def _read(store: Store, name: str) -> _Driver:
    """Return the file of a driver; empty if it was removed meanwhile."""
    try:
        return _Driver.model_validate_json(store.read(name))
    except FileNotFoundError:
        return _Driver()


def _replace(store: Store, name: str, *, key: str, requests: int) -> None:
    """Put the number of lost requests in the place of a driver's file; a repetition after a kill changes nothing."""
    if requests:
        driver = name.rpartition("/")[2]
        store.put(f"{_lost_folder(key)}/{driver}.json", _Lost(requests=requests).model_dump_json().encode())
    store.delete(name)


def _folder(key: str) -> str:
    return f"rows/{key}/in-flight"


def _lost_folder(key: str) -> str:
    return f"rows/{key}/unaccounted"
