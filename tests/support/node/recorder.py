"""What a watch of the API server told, with the time at which it did: objects keep whole seconds only, or nothing."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from support.fake_kuberay.api import Api, Key, Mirror

Object = dict[str, Any]
KINDS = ("distillationjobs", "jobs", "rayjobs", "pods", "events")


@dataclass(frozen=True, slots=True)
class Change:
    """One object as it was reported; None once it is gone."""

    at: float
    kind: str
    key: Key
    object: Object | None


@dataclass(slots=True)
class Record:
    """All changes in their order."""

    changes: list[Change] = field(default_factory=list)

    def first(self, kind: str, name: str, holds: Callable[[Object], bool] = lambda _: True) -> float | None:
        """Return when an object was first as asked; None where it never was."""
        found = (
            one.at
            for one in self.changes
            if (one.kind, one.key[1]) == (kind, name) and one.object and holds(one.object)
        )
        return next(found, None)

    def gone(self, kind: str, name: str) -> float | None:
        """Return when an object was last seen to go; None where it is there."""
        own = [one for one in self.changes if (one.kind, one.key[1]) == (kind, name)]
        return own[-1].at if own and own[-1].object is None else None

    def latest(self, kind: str) -> dict[str, Object]:
        """Return every object that ever was, by name, as it was last seen."""
        return {one.key[1]: one.object for one in self.changes if one.kind == kind and one.object}

    def write(self, file: Path) -> None:
        """Write every status of a job and every Event as a line of JSON, for who wants to see how it came about."""
        with file.open("w") as lines:
            for one in self.changes:
                if one.object and one.kind == "distillationjobs":
                    lines.write(
                        json.dumps({"at": one.at, "job": one.key[1], "status": one.object.get("status")}) + "\n"
                    )
                if one.object and one.kind == "events":
                    told = {name: one.object.get(name) for name in ("type", "reason", "message", "count")}
                    lines.write(json.dumps({"at": one.at, "of": one.object["involvedObject"]["name"], **told}) + "\n")


@contextlib.contextmanager
def recording(kubeconfig: Path, *, namespace: str) -> Iterator[Record]:
    """Record the changes of a namespace in the background until the context ends."""
    record, ready = Record(), threading.Event()
    loop = asyncio.new_event_loop()

    def note(kind: str, key: Key, found: Object | None) -> None:
        record.changes.append(Change(time.time(), kind, key, found))

    async def follow() -> None:
        api = Api.from_kubeconfig(kubeconfig)
        ready.set()
        try:
            await asyncio.gather(*(Mirror(api, kind, namespace, partial(note, kind)).follow() for kind in KINDS))
        finally:
            await api.close()

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    task = loop.create_task(follow())
    thread = threading.Thread(target=run, name="recorder", daemon=True)
    thread.start()
    ready.wait(30)
    try:
        yield record
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
        loop.close()
