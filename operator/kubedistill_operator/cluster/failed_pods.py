"""Failed pods: what the watch has shown of pods that may be gone before anybody looks.

KubeRay deletes a worker that failed at once, and with it the reason: kubelet's sentence, an OOM, a preemption. A pod is
remembered for as long as it may explain the end of an attempt, by the replica that saw it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kubedistill_operator.cluster.pod_reading import read_pod
from kubedistill_operator.observed import Pod, Resource

TELLING_SECONDS = 120.0
"""For how long the failure of a pod may be why its attempt ended; after that a new worker has taken its place."""
_MOST = 64
"""Pods that are remembered of one job."""


@dataclass(slots=True)
class FailedPods:
    """A short memory of pods that failed, by the uid of their job."""

    clock: Callable[[], float]
    _seen: dict[str, dict[str, tuple[float, Pod, dict[str, str]]]] = field(default_factory=dict)
    """By job and pod: when it was first seen to have failed, how, and its labels."""

    def see(self, resource: Resource, *, job_uid: str) -> None:
        """Take in a pod as the watch has it."""
        pod = read_pod(resource)
        if pod.phase != "Failed":
            return
        seen = self._seen.setdefault(job_uid, {})
        seen.setdefault(pod.uid, (self.clock(), pod, dict(resource["metadata"].get("labels") or {})))
        while len(seen) > _MOST:
            del seen[next(iter(seen))]

    def recall(self, job_uid: str, *, labels: dict[str, str]) -> tuple[Pod, ...]:
        """The pods with these labels that have failed lately."""
        since = self.clock() - TELLING_SECONDS
        seen = self._seen.get(job_uid, {})
        return tuple(pod for at, pod, own in seen.values() if at >= since and labels.items() <= own.items())

    def forget(self, job_uid: str) -> None:
        """Forget a job that is gone."""
        self._seen.pop(job_uid, None)
