"""Refused pods: why no pod of a child could be made, which Kubernetes tells in an Event of the child alone."""

from collections.abc import Callable
from dataclasses import dataclass

from kubedistill_operator.cluster.child_reading import clip
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.failures import Refused
from kubedistill_operator.observed import Child
from kubedistill_operator.plan import Manifest

PATIENCE_SECONDS = 5.0
"""How old a child must be before anybody asks why it has no pod: a list of Events is dear, and pods take a moment."""
_REFUSED_SECONDS = 600.0
_REASONS = ("FailedCreate", "FailedToCreateRayCluster", "FailedToCreateRayJobSubmitter")
"""Of the Job controller, and of KubeRay where not even the Ray cluster could be made."""


@dataclass(slots=True)
class RefusedPods:
    """Reads the Events of children that have no pod, where Events may be listed."""

    cluster: Cluster
    clock: Callable[[], float]
    allowed: bool = True
    _refused: float = float("-inf")
    """When the server last said no."""

    async def explain(self, child: Child, *, namespace: str) -> str:
        """What the latest Event says; empty where there is none, or it may not be read."""
        now = self.clock()
        if not self.allowed or now - child.created < PATIENCE_SECONDS or now < self._refused + _REFUSED_SECONDS:
            return ""
        selector = f"involvedObject.uid={child.uid},type=Warning"
        try:
            events = await self.cluster.select("Event", namespace=namespace, fields=selector)
        except Refused:  # the right is optional; or the server has just started, and does not know our roles yet
            self._refused = now
            return ""
        told = [event for event in events if event.get("reason") in _REASONS]
        return clip(max(told, key=_told_at, default={}).get("message"))


def _told_at(event: Manifest) -> str:
    """When an Event was told last; the API server has all times in one form, so that texts are in order."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
