"""Refused pods: why no pod of a child could be made, or one does not start: Kubernetes tells it in Events alone."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill_operator.cluster.child_reading import clip
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.optional_right import OptionalRight
from kubedistill_operator.observed import Child, Pod
from kubedistill_operator.plan import Manifest

PATIENCE_SECONDS = 5.0
"""How old a child must be before anybody asks why it has no pod: a list of Events is dear, and pods take a moment."""
IDLE_SECONDS = 15.0
"""How old an idle pod must be: mounts are tried again, and small images take some seconds."""
_REASONS = ("FailedCreate", "FailedToCreateRayCluster", "FailedToCreateRayJobSubmitter")
"""Of the Job controller, and of KubeRay where not even the Ray cluster could be made."""


_SANDBOX = re.compile(r'"[0-9a-f]{64}" ?')
"""A name that each try has anew."""


@dataclass(slots=True)
class RefusedPods:
    """Reads the Events of children that have no pod and of pods that do not start, where Events may be listed."""

    cluster: Cluster
    clock: Callable[[], float]
    right: OptionalRight
    """To list Events."""

    async def explain(self, child: Child, *, namespace: str) -> str:
        """What the latest Event says; empty where there is none, or it may not be read."""
        if self.clock() - child.created < PATIENCE_SECONDS:
            return ""
        events = await self._list(f"involvedObject.uid={child.uid}", namespace=namespace, fields=",type=Warning")
        return _latest_refusal(events)

    async def explain_submitter(self, child: Child, *, namespace: str) -> str:
        """Why nothing submits a driver to a Ray cluster: KubeRay's Job for that has the name of the RayJob."""
        told = await self.explain(child, namespace=namespace)
        job = f"involvedObject.kind=Job,involvedObject.name={child.name}"
        return told or _latest_refusal(await self._list(job, namespace=namespace, fields=",type=Warning"))

    async def explain_idle(self, pod: Pod, *, namespace: str) -> str:
        """What the latest Event of a pod says that does not start, a warning before news of the same second."""
        if self.clock() - pod.created < IDLE_SECONDS:
            return ""
        events = await self._list(f"involvedObject.uid={pod.uid}", namespace=namespace)
        if not events:
            return ""
        latest = max(events, key=lambda event: (_told_at(event), event.get("type") == "Warning"))
        return clip(f"{latest.get('reason')}: {_SANDBOX.sub('', str(latest.get('message') or ''))}")

    async def _list(self, about: str, *, namespace: str, fields: str = "") -> list[Manifest]:
        if not self.right.may_ask:
            return []
        selector = f"{about}{fields}"
        return await self.right.ask(self.cluster.select("Event", namespace=namespace, fields=selector)) or []


def _latest_refusal(events: Sequence[Manifest]) -> str:
    told = [event for event in events if event.get("reason") in _REASONS]
    return clip(max(told, key=_told_at, default={}).get("message"))


def _told_at(event: Manifest) -> str:
    """When an Event was told last; the API server has all times in one form, so that texts are in order."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
