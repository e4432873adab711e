"""Failed pods: remembers pods that the watch has shown, and that may be gone before the next reconcile.

KubeRay deletes a failed worker at once, and with it the reason: kubelet's message, an OOM, a preemption. The replica
that saw a pod remembers it as long as it may explain the end of an attempt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kubedistill_operator.cluster.pod_reading import read_pod
from kubedistill_operator.observed import Pod, Resource

MEMORY_SECONDS = 120.0
"""How long a pod's failure may explain the end of its attempt; after that, a new worker has replaced the pod."""
_MOST = 64
"""Maximum number of remembered pods of one job."""


@dataclass(slots=True)
class FailedPods:
    """A short memory of pods that failed, by the uid of their job."""

    clock: Callable[[], float]
    _seen: dict[str, dict[str, tuple[float, Pod, dict[str, str]]]] = field(default_factory=dict)
    """By job and pod: when its failure was first seen, the pod, and its labels."""

    def record(self, resource: Resource, *, job_uid: str) -> None:
        """Record a pod from the watch if it has failed."""
        pod = read_pod(resource)
        if pod.phase != "Failed":
            return
        seen = self._seen.setdefault(job_uid, {})
        seen.setdefault(pod.uid, (self.clock(), pod, dict(resource["metadata"].get("labels") or {})))
        while len(seen) > _MOST:
            del seen[next(iter(seen))]

    def recall(self, job_uid: str, *, labels: dict[str, str]) -> tuple[Pod, ...]:
        """Return the pods with these labels that have failed recently."""
        since = self.clock() - MEMORY_SECONDS
        seen = self._seen.get(job_uid, {})
        return tuple(pod for at, pod, own in seen.values() if at >= since and labels.items() <= own.items())

    def forget(self, job_uid: str) -> None:
        """Forget a job that is gone."""
        self._seen.pop(job_uid, None)
