"""The cache of jobs: what the watches and the latest decisions say about all jobs.

It is a hint, and never a reason to create or delete anything: those decisions read again. It knows which jobs make the
same artifact, how many jobs of a namespace have a child, which jobs need no reconcile, and what metrics show.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kubedistill.chain import STAGES, ArtifactName
from kubedistill.labels import requests_of
from kubedistill.manifest.settings import DefaultStorage
from kubedistill.stages import LIVE, TERMINAL, current_stage
from kubedistill.v1alpha1 import Status
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.decisions.stores import Store, find_store
from kubedistill_operator.job import Job, Key
from kubedistill_operator.observed import Competitor
from kubedistill_operator.status import is_not_understood
from kubedistill_operator.telemetry.driver_metrics import DriverMetrics
from kubedistill_operator.telemetry.job_metrics import JobMetrics, read_job_metrics

_WOKEN = 2
"""Jobs that are woken for one free place; more than one, since one may not take it. Others try again later."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is cached of one job."""

    uid: str
    version: str
    created: float
    active: bool
    """Whether it has a child now."""
    gpus: Mapping[str, int]
    """GPUs that it holds, by pool."""
    waits_for: str
    """Why it is queued: NamespaceBusy, PoolBusy, SharedArtifact, …; empty if it is not."""
    quiet: bool
    """Whether it is over, and nothing new is requested of it."""
    store: Store
    keys: Mapping[ArtifactName, str]
    """Artifacts that its child is making."""
    made: Mapping[ArtifactName, str]
    """Artifacts that are complete, as far as the job knows."""
    made_at: float
    """When its latest stage ended."""
    job_metrics: JobMetrics


@dataclass(slots=True)
class JobCache:
    """All jobs by key."""

    storage: DefaultStorage
    _entries: dict[Key, Entry] = field(default_factory=dict)
    _children: dict[Key, set[str]] = field(default_factory=dict)
    """Names of the children that exist, as far as known."""
    _rested: dict[Key, str] = field(default_factory=dict)
    """The resourceVersion at which a reconcile found nothing to do and nothing to wait for."""
    _work: dict[Key, DriverMetrics] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[Key, Entry]]:
        return iter(list(self._entries.items()))

    def __len__(self) -> int:
        return len(self._entries)

    def uid(self, key: Key) -> str:
        """Return the uid of a job; empty if the job is not known."""
        entry = self._entries.get(key)
        return entry.uid if entry is not None else ""

    def knows(self, key: Key, *, uid: str, version: str) -> bool:
        """Return whether a job is known as of a resourceVersion, or a later one."""
        known = self._entries.get(key)
        return known is not None and known.uid == uid and not _is_newer(version, known.version)

    def update_if_newer(self, job: Job) -> list[Key]:
        """Store a job from a watch, unless a newer one is known; return the keys that may continue now."""
        return [] if self.knows(_key(job), uid=job.uid, version=job.resource_version) else self.update(job)

    def update(self, job: Job) -> list[Key]:
        """Store a job that was just read or decided on; return the keys that may continue now."""
        key, new = _key(job), make_entry(job, storage=self.storage)
        old = self._entries.get(key)
        self._entries[key] = new
        return self._freed(key, old, new)

    def remove(self, key: Key) -> list[Key]:
        """Remove a job that is gone; return the keys that may continue now."""
        old = self._entries.pop(key, None)
        self._children.pop(key, None)
        self._rested.pop(key, None)
        self._work.pop(key, None)
        return self._freed(key, old, None)

    def add_child(self, key: Key, name: str) -> None:
        """Note that a child exists."""
        self._children.setdefault(key, set()).add(name)

    def remove_child(self, key: Key, name: str) -> None:
        """Note that a child is gone."""
        self._children.get(key, set()).discard(name)

    def set_children(self, key: Key, names: Iterable[str]) -> None:
        """Note which children exist, and that there are no others."""
        self._children[key] = set(names)

    def set_idle(self, job: Job) -> None:
        """Note that a reconcile of a job found nothing to do and nothing to wait for."""
        self._rested[_key(job)] = job.resource_version

    def set_driver_metrics(self, key: Key, work: DriverMetrics | None) -> None:
        """Note the metrics of the driver that runs."""
        if work is None or key not in self._entries:
            self._work.pop(key, None)
        else:
            self._work[key] = work

    def metrics(self) -> Iterator[tuple[Key, JobMetrics, DriverMetrics | None]]:
        """Yield the key of every job with the metrics of it and of its driver."""
        return ((key, entry.job_metrics, self.driver_metrics(key)) for key, entry in self)

    def driver_metrics(self, key: Key) -> DriverMetrics | None:
        """Return the metrics of a job's driver while it runs."""
        work, entry = self._work.get(key), self._entries.get(key)
        return work if work is not None and entry is not None and work.belongs_to(entry.job_metrics) else None

    def needs_reconcile(self, key: Key) -> bool:
        """Return whether a job must be reconciled: unless it is over, has no child and has not changed since."""
        entry = self._entries.get(key)
        if entry is None or self._children.get(key):
            return True
        return not (entry.quiet or self._rested.get(key) == entry.version)

    def competitors(self, job: Job) -> tuple[Competitor, ...]:
        """Return other jobs on the same store that make, or have made, an artifact which this one still lacks.

        Only needed before an attempt, and expensive with many jobs: otherwise empty.
        """
        stage = current_stage(job.status)
        lacks = _artifacts(job.status, complete=False).items()
        if stage is None or stage.state != "Pending" or not lacks:
            return ()
        store = _find_store(job, storage=self.storage)
        return tuple(
            Competitor(namespace, name, entry.uid, entry.keys, entry.made, entry.made_at)
            for (namespace, name), entry in self._entries.items()
            if entry.store == store
            and not (lacks.isdisjoint(entry.keys.items()) and lacks.isdisjoint(entry.made.items()))
            and entry.uid != job.uid
        )

    def count_other_active(self, job: Job) -> int:
        """Return how many other jobs of the namespace have a child now."""
        return sum(
            entry.active
            for (namespace, _), entry in self._entries.items()
            if namespace == job.namespace and entry.uid != job.uid
        )

    def count_other_gpus(self, job: Job) -> dict[str, int]:
        """Return how many GPUs other jobs of the namespace hold, by pool."""
        held: Counter[str] = Counter()
        for (namespace, _), entry in self._entries.items():
            if namespace == job.namespace and entry.uid != job.uid:
                held.update(entry.gpus)
        return dict(held)

    def _freed(self, key: Key, old: Entry | None, new: Entry | None) -> list[Key]:
        """Return jobs that wait for what this one has given up: room in its namespace, or the making of an artifact."""
        if old is None:
            return []
        room = {"NamespaceBusy"} if old.active and not (new and new.active) else set()
        room |= {"PoolBusy"} if old.gpus != (new.gpus if new else {}) else set()
        made = bool(set(old.keys.items()) - set(new.keys.items() if new else ()))
        waiting = [(other, entry) for other, entry in self._entries.items() if entry.waits_for and other != key]
        for_room = [
            (entry.created, other) for other, entry in waiting if entry.waits_for in room and other[0] == key[0]
        ]
        for_making = [
            other
            for other, entry in waiting
            if made and entry.waits_for == "SharedArtifact" and entry.store == old.store
        ]
        return [other for _, other in sorted(for_room)[:_WOKEN]] + for_making


def make_entry(job: Job, *, storage: DefaultStorage) -> Entry:
    """Return what to cache of a job."""
    status = job.status
    over = status.phase in TERMINAL
    return Entry(
        uid=job.uid,
        version=job.resource_version,
        created=job.created,
        # A job whose status is not understood may have a child.
        active=any(stage.state in LIVE for stage in status.stages) or (bool(job.not_understood) and not over),
        gpus={stage.pool: stage.gpus for stage in status.stages if stage.state in LIVE and stage.gpus},
        waits_for=_waits_for(job),
        quiet=over and not job.deleting and not _needs_report(job) and not _has_requests(job),
        store=_find_store(job, storage=storage),
        keys={} if over or job.deleting else _making(status),
        made=_artifacts(status, complete=True),
        made_at=seconds_of(max((stage.ended_at for stage in status.stages), default="")) or 0.0,
        job_metrics=read_job_metrics(job),
    )


def _find_store(job: Job, *, storage: DefaultStorage) -> Store:
    """Return the job's store; a job whose spec cannot be read shares with no other namespace."""
    if job.spec is None:
        return (job.namespace, "", "")
    return find_store(job.spec, namespace=job.namespace, storage=storage)


def _making(status: Status) -> dict[ArtifactName, str]:
    """Return the keys of the artifacts that the job's child makes, if it has one."""
    active = next((stage for stage in status.stages if stage.state in LIVE), None)
    makes = STAGES[active.name].makes if active is not None else ()
    return {name: key for name, key in _artifacts(status, complete=False).items() if name in makes}


def _artifacts(status: Status, *, complete: bool) -> dict[ArtifactName, str]:
    """Return the keys of the run's artifacts that are complete, or are not."""
    return {one.name: one.key for one in (status.run.artifacts if status.run else ()) if one.complete is complete}


def _waits_for(job: Job) -> str:
    if job.status.phase != "Queued":
        return ""
    quota = job.status.condition("QuotaReserved")
    return quota.reason if quota is not None else ""


def _needs_report(job: Job) -> bool:
    """Return whether its status must change: for an edit, or for what is not understood."""
    seen = job.status.observed_generation >= job.generation
    return not seen or bool(job.not_understood) or is_not_understood(job.status)


def _has_requests(job: Job) -> bool:
    """Return whether an annotation requests something that has not been handled."""
    return not set(requests_of(job.annotations).values()) <= set(job.status.handled_requests)


def _is_newer(version: str, than: str) -> bool:
    """Return whether a resourceVersion is newer than another; if they are not numbers, any other is."""
    if version.isdigit() and than.isdigit():
        return int(version) > int(than)
    return version != than


def _key(job: Job) -> Key:
    return job.namespace, job.name
