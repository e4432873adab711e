"""Refused pods: why no pod of a child could be created, or one does not start, which only Events tell."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill_operator.cluster.child_reading import clip
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.optional_right import OptionalRight
from kubedistill_operator.observed import Child, Pod
from kubedistill_operator.plan import Manifest

MIN_AGE_SECONDS = 5.0
"""Minimum age of a child without pods before its Events are listed: that is expensive, and pods take a moment."""
IDLE_SECONDS = 15.0
"""Minimum age of an idle pod before its Events are listed: mounts are retried, and small images take some seconds."""
_REASONS = ("FailedCreate", "FailedToCreateRayCluster", "FailedToCreateRayJobSubmitter")
"""Reasons of the Job controller, and of KubeRay if it could not create the Ray cluster or the submitter."""


_SANDBOX = re.compile(r'"[0-9a-f]{64}" ?')
"""A name that is different in every try."""


@dataclass(slots=True)
class RefusedPods:
    """Reads the Events of children without pods and of pods that do not start, if Events may be listed."""

    cluster: Cluster
    clock: Callable[[], float]
    right: OptionalRight
    """The right to list Events."""

    async def explain(self, child: Child, *, namespace: str) -> str:
        """Return the message of the latest Event; empty if there is none, or it may not be read."""
        if self.clock() - child.created < MIN_AGE_SECONDS:
            return ""
        events = await self._list(f"involvedObject.uid={child.uid}", namespace=namespace, fields=",type=Warning")
        return _latest_refusal(events)

    async def explain_submitter(self, child: Child, *, namespace: str) -> str:
        """Return why no driver is submitted to a Ray cluster: KubeRay's submitter Job has the name of the RayJob."""
        message = await self.explain(child, namespace=namespace)
        job = f"involvedObject.kind=Job,involvedObject.name={child.name}"
        return message or _latest_refusal(await self._list(job, namespace=namespace, fields=",type=Warning"))

    async def explain_idle(self, pod: Pod, *, namespace: str) -> str:
        """Return the latest Event of a pod that does not start; a warning takes precedence in the same second."""
        if self.clock() - pod.created < IDLE_SECONDS:
            return ""
        events = await self._list(f"involvedObject.uid={pod.uid}", namespace=namespace)
        if not events:
            return ""
        latest = max(events, key=lambda event: (_sent_at(event), event.get("type") == "Warning"))
        return clip(f"{latest.get('reason')}: {_SANDBOX.sub('', str(latest.get('message') or ''))}")

    async def _list(self, about: str, *, namespace: str, fields: str = "") -> list[Manifest]:
        if not self.right.may_ask:
            return []
        selector = f"{about}{fields}"
        return await self.right.ask(self.cluster.select("Event", namespace=namespace, fields=selector)) or []


def _latest_refusal(events: Sequence[Manifest]) -> str:
    refusals = [event for event in events if event.get("reason") in _REASONS]
    return clip(max(refusals, key=_sent_at, default={}).get("message"))


def _sent_at(event: Manifest) -> str:
    """Return when an Event was last sent; the API server uses one format, so the strings sort by time."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
