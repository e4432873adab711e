"""Event handlers: what an event of the API server means for the queue. They mark keys, and decide nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubedistill.labels import JOB_LABEL, JOB_UID_LABEL
from kubedistill_operator.cluster.child_reading import read_child
from kubedistill_operator.job import Key, parse_job
from kubedistill_operator.loop.controller import Controller

PROGRESS_SECONDS: Final = 30.0
"""At least that long between two looks at a job that only made progress."""
_CROWD_SECONDS = 1.0
"""News that nobody waits for comes in crowds: a moment is waited for the others."""
_DELETED = "DELETED"

Body = Mapping[str, Any]


@dataclass(slots=True)
class EventHandlers:
    """Remembers, of each job, only what tells news from an echo of our own writes."""

    controller: Controller
    _asked: dict[Key, tuple[object, ...]] = field(default_factory=dict)
    """What people last asked of a job: uid, generation, annotations, deletion and what holds it."""
    _said: dict[Key, dict[str, tuple[object, ...]]] = field(default_factory=dict)
    """What drivers last said, by channel, besides progress."""
    _progress_due: dict[Key, float] = field(default_factory=dict)
    """When progress is carried on next, or was last."""

    def on_job(self, kind: str | None, body: Body) -> None:
        """A DistillationJob was listed, made, changed or deleted; that only its status changed is our own doing."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if kind == _DELETED:
            for memory in (self._asked, self._said, self._progress_due):
                memory.pop(key, None)
            if self.controller.cache.uid(key) in ("", metadata["uid"]):
                self.controller.forget(key)
            self.controller.queue.add(key, urgent=True)  # a look that is under way may bring it back into the table
            return
        cache = self.controller.cache
        if key in self._asked and cache.knows(key, uid=metadata["uid"], version=metadata["resourceVersion"]):
            return  # an echo of our own write: whatever else it holds was known when that was decided
        job = parse_job(body)
        for other in cache.see(job):
            self.controller.queue.add(other)
        asked = (job.uid, job.generation, tuple(sorted(job.annotations.items())), job.deleting, job.finalizers)
        if asked != self._asked.get(key):
            self._asked[key] = asked
            if cache.needs_look(key):
                self.controller.queue.add(key, urgent=True)

    def on_child(self, kind: str | None, body: Body) -> None:
        """A RayJob or Job of ours was listed, made, changed or deleted; its end counts at once."""
        if (key := self._key_of(kind, body)) is None:
            return
        if kind == _DELETED:
            self.controller.cache.miss_child(key, body["metadata"]["name"])
        else:
            self.controller.cache.on_child(key, body["metadata"]["name"])
        over = kind == _DELETED or read_child(body).state == "Ended"
        self.controller.queue.add_after(key, 0 if over else _CROWD_SECONDS, urgent=over)

    def on_channel(self, kind: str | None, body: Body) -> None:
        """A ConfigMap of ours changed: results count at once, claims after a moment, progress after a while."""
        name = body["metadata"]["name"]
        if (key := self._key_of(kind, body)) is None or not name.endswith("-out"):
            return
        if kind == _DELETED:
            self._said.get(key, {}).pop(name, None)
            self.controller.queue.add(key, urgent=True)
            return
        channels = self._said.setdefault(key, {})
        data = body.get("data") or {}
        result = hash(data.get("result.json", ""))
        said = (result, body["metadata"]["uid"], *(data.get(part) for part in ("owner", "starts", "stop")))
        before = channels.get(name, (hash(""),))
        if said != before:
            channels[name] = said
            ended = result != before[0]
            self.controller.queue.add_after(key, 0 if ended else _CROWD_SECONDS, urgent=ended)
        else:
            self._carry_progress_on(key)

    def on_pod(self, kind: str | None, body: Body) -> None:
        """A pod of ours changed; the next stage may wait for one that is gone."""
        if (key := self._key_of(kind, body)) is None:
            return
        self.controller.observer.failed_pods.see(body, job_uid=body["metadata"]["labels"].get(JOB_UID_LABEL, ""))
        self.controller.queue.add_after(key, _CROWD_SECONDS, urgent=kind == _DELETED)

    def _carry_progress_on(self, key: Key) -> None:
        now = self.controller.queue.clock()
        due = self._progress_due.get(key, float("-inf"))
        if due <= now:
            due = self._progress_due[key] = max(now, due + PROGRESS_SECONDS)
        self.controller.queue.add_after(key, due - now)  # again and again, since a look in between clears the timer

    def _key_of(self, kind: str | None, body: Body) -> Key | None:
        """The job that an object of ours belongs to; None where it is only collected after a job that is gone."""
        metadata = body["metadata"]
        name = (metadata.get("labels") or {}).get(JOB_LABEL)
        if not name or (kind == _DELETED and not self.controller.cache.uid((metadata["namespace"], name))):
            return None
        return metadata["namespace"], name
