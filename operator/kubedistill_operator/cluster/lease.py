"""The lease: one replica leads, and knows from its own clock when it can no longer be sure of that.

The leader renews the Lease every 2 s. If it has not renewed it for 10 s, it stops writing; 15 s after the last change
another replica takes it. Only durations count, never the clock of another machine.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from kubedistill.json_values import Json
from kubedistill_operator.cluster.api_errors import AlreadyExists, Conflict, LeaseLost, OperatorFailure
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.plan import Manifest

DURATION_SECONDS, DEADLINE_SECONDS, RETRY_SECONDS = 15.0, 10.0, 2.0
REQUEST_SECONDS: Final = 4.0
_MARGIN_SECONDS = 1.0

log = logging.getLogger(__name__)


class LeaseApi(Protocol):
    """The operations of the cluster that a lease needs."""

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        """Return one object, or None."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises AlreadyExists."""
        ...

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; raises Conflict."""
        ...


def boot_seconds() -> float:
    """Return the time of a clock that never goes back, and continues while the machine or the process sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Lease:
    """One candidate for leadership."""

    api: LeaseApi
    namespace: str
    name: str
    identity: str
    """Unique for every process; its parts are joined by `_`."""
    pod: str = ""
    """Uid of our pod, a part of the identity: a lease of an earlier process of the pod is free. Empty outside a pod."""
    clock: Callable[[], float] = boot_seconds
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    problem: str = ""
    """Why the last request for the lease failed; empty if it did not."""
    _held: Manifest | None = None
    """The Lease as we last wrote it."""
    _renewed: float = 0.0
    """When the request began that last renewed it."""
    _seen: tuple[Json, ...] = ()
    _seen_at: float = field(default=0.0)
    _renewal_seen: float = float("-inf")
    """When we last noticed that another replica had renewed the lease."""

    @property
    def leads(self) -> bool:
        """Whether we hold the lease and may write."""
        return self._held is not None and self.clock() < self._renewed + DEADLINE_SECONDS

    @property
    def follows(self) -> bool:
        """Whether another replica leads: it was seen to renew the lease. A dead replica may still hold it."""
        return not self.leads and self.clock() < self._renewal_seen + DURATION_SECONDS

    def write_deadline(self) -> float:
        """Return the seconds that a write may take to end before another replica can lead; raises LeaseLost."""
        if not self.leads:
            raise LeaseLost("the lease was not renewed in time: another replica may lead by now")
        return self._renewed + DURATION_SECONDS - _MARGIN_SECONDS - self.clock()

    async def acquire(self) -> None:
        """Wait until we lead."""
        while not await self._attempt(self._take):
            await self.sleep(RETRY_SECONDS)

    async def hold(self) -> None:
        """Renew the lease as long as possible; raises LeaseLost when it cannot be renewed in time."""
        while True:
            await self.sleep(RETRY_SECONDS)
            self.write_deadline()
            await self._attempt(self._renew)

    async def release(self) -> None:
        """Let another replica lead at once; nothing may be written after this."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = {name: value for name, value in held["spec"].items() if name != "holderIdentity"}
        released = {**held, "spec": {**spec, "leaseDurationSeconds": 1}}

        async def give_up() -> bool:
            await self.api.replace(released)
            return True

        await self._attempt(give_up)

    async def _attempt(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Run one step, in which the API server may fail but must not delay us."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                done = await step()
        except LeaseLost:
            raise
        except (OperatorFailure, TimeoutError) as error:
            if (problem := str(error) or f"no answer within {REQUEST_SECONDS:.0f} s") != self.problem:
                log.warning("Lease %s/%s: %s", self.namespace, self.name, problem)
            self.problem = problem
            return False
        self.problem = ""
        return done

    async def _take(self) -> bool:
        began = self.clock()
        found = await self.api.get("Lease", self.name, namespace=self.namespace)
        if found is None:
            try:
                self._note(await self.api.create(self._manifest({}, transitions=0)), began)
            except AlreadyExists:
                return False
            return True
        spec = found.get("spec") or {}
        if not self._is_free(spec, version=found["metadata"].get("resourceVersion")):
            return False
        manifest = self._manifest(found["metadata"], transitions=int(spec.get("leaseTransitions") or 0) + 1)
        try:
            self._note(await self.api.replace(manifest), began)
        except Conflict:
            return False
        return True

    async def _renew(self) -> bool:
        assert self._held is not None, "only a held lease is renewed"
        try:
            await self._replace(self._held)
        except Conflict:
            found = await self.api.get("Lease", self.name, namespace=self.namespace)
            holder = (found or {}).get("spec", {}).get("holderIdentity")
            if found is None or holder != self.identity:
                self._held = None
                raise LeaseLost(f"{holder or 'nobody'} holds the lease") from None
            await self._replace(found)  # our own write, whose answer was lost
        return True

    async def _replace(self, held: Manifest) -> None:
        began = self.clock()
        self._note(await self.api.replace({**held, "spec": {**held["spec"], "renewTime": self._stamp()}}), began)

    def _is_free(self, spec: Manifest, *, version: Json) -> bool:
        """Return whether nobody holds the lease, or its holder has not renewed it in time by our own clock."""
        holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
        if (seen := (holder, renewed, version)) != self._seen:
            if holder and self._seen[:1] == (holder,) and self._seen[1] != renewed:
                self._renewal_seen = self.clock()
            self._seen, self._seen_at = seen, self.clock()
        if not holder or holder == self.identity or (self.pod and self.pod in holder.split("_")):
            return True
        allowed = max(float(spec.get("leaseDurationSeconds") or 0.0), DURATION_SECONDS)
        return self.clock() >= self._seen_at + allowed

    def _note(self, written: Manifest, began: float) -> None:
        self._held, self._renewed = written, began

    def _manifest(self, metadata: Manifest, *, transitions: int) -> Manifest:
        now = self._stamp()
        return {
            **KINDS["Lease"].header,
            "metadata": {**metadata, "name": self.name, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(DURATION_SECONDS),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
