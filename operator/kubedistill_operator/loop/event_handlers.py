"""Event handlers: what an event of the API server means for the queue. They add keys, and decide nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubedistill.labels import JOB_LABEL, JOB_UID_LABEL
from kubedistill_operator.cluster.child_reading import read_child
from kubedistill_operator.job import Key, parse_job
from kubedistill_operator.loop.controller import Controller

PROGRESS_SECONDS: Final = 30.0
"""Minimum time between two reconciles of a job that only made progress."""
_CROWD_SECONDS = 1.0
"""Delay of events that are not urgent, since several usually arrive together."""
_DELETED = "DELETED"

Body = Mapping[str, Any]


@dataclass(slots=True)
class EventHandlers:
    """Remembers of each job only what distinguishes news from echoes of our own writes."""

    controller: Controller
    _asked: dict[Key, tuple[object, ...]] = field(default_factory=dict)
    """What users last requested of a job: uid, generation, annotations, deletion and finalizers."""
    _reported: dict[Key, dict[str, tuple[object, ...]]] = field(default_factory=dict)
    """What drivers last reported, by channel, except for progress."""
    _progress_due: dict[Key, float] = field(default_factory=dict)
    """When progress is next copied to the status, or was last."""

    def on_job(self, kind: str | None, body: Body) -> None:
        """Handle an event of a DistillationJob; a change of the status alone is our own."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if kind == _DELETED:
            for memory in (self._asked, self._reported, self._progress_due):
                memory.pop(key, None)
            if self.controller.cache.uid(key) in ("", metadata["uid"]):
                self.controller.forget(key)
            self.controller.queue.add(key, urgent=True)  # a running reconcile may add it to the cache again
            return
        cache = self.controller.cache
        if key in self._asked and cache.knows(key, uid=metadata["uid"], version=metadata["resourceVersion"]):
            return  # an echo of our own write: the rest of it was known to that decision
        job = parse_job(body)
        for other in cache.update_if_newer(job):
            self.controller.queue.add(other)
        asked = (job.uid, job.generation, tuple(sorted(job.annotations.items())), job.deleting, job.finalizers)
        if asked != self._asked.get(key):
            self._asked[key] = asked
            if cache.needs_reconcile(key):
                self.controller.queue.add(key, urgent=True)

    def on_child(self, kind: str | None, body: Body) -> None:
        """Handle an event of a RayJob or Job of ours; its end is urgent."""
        if (key := self._key_of(kind, body)) is None:
            return
        if kind == _DELETED:
            self.controller.cache.remove_child(key, body["metadata"]["name"])
        else:
            self.controller.cache.add_child(key, body["metadata"]["name"])
        over = kind == _DELETED or read_child(body).state == "Ended"
        self.controller.queue.add_after(key, 0 if over else _CROWD_SECONDS, urgent=over)

    def on_channel(self, kind: str | None, body: Body) -> None:
        """Handle an event of a ConfigMap of ours: results are urgent, claims wait a moment, progress waits longer."""
        name = body["metadata"]["name"]
        if (key := self._key_of(kind, body)) is None or not name.endswith("-out"):
            return
        if kind == _DELETED:
            self._reported.get(key, {}).pop(name, None)
            self.controller.queue.add(key, urgent=True)
            return
        channels = self._reported.setdefault(key, {})
        data = body.get("data") or {}
        result = hash(data.get("result.json", ""))
        state = (result, body["metadata"]["uid"], *(data.get(part) for part in ("owner", "starts", "stop")))
        before = channels.get(name, (hash(""),))
        if state != before:
            channels[name] = state
            ended = result != before[0]
            self.controller.queue.add_after(key, 0 if ended else _CROWD_SECONDS, urgent=ended)
        else:
            self._schedule_progress(key)

    def on_pod(self, kind: str | None, body: Body) -> None:
        """Handle an event of a pod of ours; the next stage may wait for its end."""
        if (key := self._key_of(kind, body)) is None:
            return
        self.controller.observer.failed_pods.record(body, job_uid=body["metadata"]["labels"].get(JOB_UID_LABEL, ""))
        self.controller.queue.add_after(key, _CROWD_SECONDS, urgent=kind == _DELETED)

    def _schedule_progress(self, key: Key) -> None:
        now = self.controller.queue.clock()
        due = self._progress_due.get(key, float("-inf"))
        if due <= now:
            due = self._progress_due[key] = max(now, due + PROGRESS_SECONDS)
        self.controller.queue.add_after(key, due - now)  # every time, since a reconcile clears the timer

    def _key_of(self, kind: str | None, body: Body) -> Key | None:
        """Return the job that an object belongs to; None if the object is deleted after its job."""
        metadata = body["metadata"]
        name = (metadata.get("labels") or {}).get(JOB_LABEL)
        if not name or (kind == _DELETED and not self.controller.cache.uid((metadata["namespace"], name))):
            return None
        return metadata["namespace"], name
