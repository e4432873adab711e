"""Observation: reads what the cluster holds of one job, and only as much as the decision needs.

While a driver runs, its child and its channel are read by name. While its child starts or ends, its pods are listed
too. Without a current attempt, everything with the job's uid is listed: nothing is created or deleted because of a
cache.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kubedistill.labels import ATTEMPT_LABEL, JOB_UID_LABEL, RUN_LABEL, STAGE_LABEL
from kubedistill.manifest.settings import Settings
from kubedistill.stages import LIVE, current_stage
from kubedistill.v1alpha1 import Run, StageStatus
from kubedistill_operator.children.child_kinds import child_kind, child_kinds
from kubedistill_operator.children.pods import config_map_folders
from kubedistill_operator.cluster.api_errors import NotUnderstood, Refused
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.cluster.child_reading import check_frozen, is_owned, read_child, read_frozen
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.failed_pods import FailedPods
from kubedistill_operator.cluster.nodes import Nodes
from kubedistill_operator.cluster.optional_right import OptionalRight
from kubedistill_operator.cluster.pod_reading import may_run, node_name, read_pod
from kubedistill_operator.cluster.refused_pods import RefusedPods
from kubedistill_operator.cluster.sightings import Sightings
from kubedistill_operator.decisions.run_snapshot import is_intact
from kubedistill_operator.job import Job
from kubedistill_operator.names import frozen_name, labels, out_name
from kubedistill_operator.observed import Attempt, Child, Observed, Pod, StoredSnapshot, first_idle
from kubedistill_operator.plan import Manifest

log = logging.getLogger(__name__)

Group = tuple[str, str, str]
"""(run, stage, attempt), as in labels."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed, and whether that was everything."""

    observed: Observed
    full: bool

    def still_valid(self, before: Job, after: Job) -> bool:
        """Return whether it shows enough of a job of which we have changed only the status since."""
        old, new = attempted_stage(before), attempted_stage(after)
        runs = [job.status.run.id if job.status.run else None for job in (before, after)]
        if runs[0] is None or runs[0] != runs[1]:
            return False
        if new is None:
            return old is None
        if old is None:  # an attempt has just begun, and everything was listed before
            return new.child not in (one.child.name for one in self.observed.earlier if one.child)
        return new.child == old.child and (self.full or new.state != "Failed")


@dataclass(slots=True)
class Observer:
    """Reads the objects of a job; caches frozen runs, which never change."""

    cluster: Cluster
    settings: Settings
    clock: Callable[[], float]
    sightings: Sightings = field(init=False)
    nodes: Nodes = field(init=False)
    refused_pods: RefusedPods = field(init=False)
    failed_pods: FailedPods = field(init=False)
    _frozen: dict[str, StoredSnapshot] = field(default_factory=dict)
    """The run of the status, by the uid of the job."""

    def __post_init__(self) -> None:
        self.sightings = Sightings(self.clock)
        right = OptionalRight(self.clock, self.settings.rbac.nodes)
        self.nodes = Nodes(self.cluster, self.clock, right, self.sightings)
        self.refused_pods = RefusedPods(self.cluster, self.clock, OptionalRight(self.clock, self.settings.rbac.events))
        self.failed_pods = FailedPods(self.clock)

    async def observe(self, job: Job, *, full: bool = False) -> Observation:
        """Read the current attempt by name, and all other objects of the job if they matter or `full` is set.

        The caller adds other jobs, which are known only at the time of the decision. Raises Transient and Refused as
        the cluster does, and NotUnderstood if another version wrote the status or the frozen run.
        """
        if job.not_understood:
            raise NotUnderstood(job.not_understood)
        stage = attempted_stage(job)
        attempt, earlier = await self._read_attempt(job, stage), tuple[Attempt, ...]()
        if full := full or stage is None or stage.state == "Failed":
            attempt, earlier = await self._list_attempts(job, stage, attempt)
        elif stage is not None and not _is_steady(stage, attempt):
            attempt = replace(attempt, pods=await self._list_pods(job, stage))
        observed = Observed(
            attempt=await self._explain(self._recall_pods(_with_driver(attempt), job), namespace=job.namespace),
            earlier=earlier,
            frozen=None if job.deleting else await self._read_frozen(job),  # nothing is created from it anymore
            claim_access_modes=await self._read_claim(job, claim=self._storage_claim(job)),
            cache_access_modes=await self._read_claim(job, claim=_cache_claim(job)),
            namespace_labels=await self._read_namespace(job),
            missing_config_maps=await self._find_missing(job),
        )
        return Observation(observed, full)

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._frozen.pop(uid, None)
        self.failed_pods.forget(uid)

    async def _read_attempt(self, job: Job, stage: StageStatus | None) -> Attempt:
        if stage is None:
            return Attempt()
        found, channel = await asyncio.gather(
            self._read_child(job, stage), self.cluster.get("ConfigMap", out_name(stage.child), namespace=job.namespace)
        )
        content = read_channel(channel) if channel and is_owned(channel, uid=job.uid) else None
        started = stage.state == "Running" or (content is not None and content.starts > 0)
        ours = found is not None and _labels(found).get(JOB_UID_LABEL) == job.uid
        child = read_child(found, started=started) if found is not None and ours else None
        return Attempt(child, content, is_whole=await self._is_whole(job, stage, child))

    async def _read_child(self, job: Job, stage: StageStatus) -> Manifest | None:
        """Return the child of a stage; an edit of the spec since may have changed the kind that it would need."""
        likely = child_kind(stage.name, job.spec) if job.spec is not None else None
        for kind in sorted(child_kinds(stage.name), key=lambda one: one != likely):
            if (found := await self.cluster.get(kind, stage.child, namespace=job.namespace)) is not None:
                return found
        return None

    async def _is_whole(self, job: Job, stage: StageStatus, child: Child | None) -> bool:
        """Return whether ConfigMap `<child>`, which is created last, exists; in 0.1, the job owned it."""
        if child is None or stage.state != "Starting" or stage.child_uid:
            return True
        found = await self.cluster.get("ConfigMap", stage.child, namespace=job.namespace)
        return found is not None and any(is_owned(found, uid=uid) for uid in (child.uid, job.uid))

    async def _list_attempts(
        self, job: Job, stage: StageStatus | None, current: Attempt
    ) -> tuple[Attempt, tuple[Attempt, ...]]:
        selector = f"{JOB_UID_LABEL}={job.uid}"
        rayjobs, jobs = await asyncio.gather(
            *(self.cluster.select(kind, namespace=job.namespace, labels=selector) for kind in ("RayJob", "Job"))
        )
        # After the children: the owners of pods are read before the pods are.
        groups: dict[Group, list[Pod]] = {}
        for resource, pod in await self._read_pods(selector, namespace=job.namespace):
            groups.setdefault(_group(resource), []).append(pod)
        own: list[Pod] = []
        if stage is not None and job.status.run is not None:
            own = groups.pop(_group_of(job, stage, run=job.status.run.id), [])
        earlier = [
            Attempt(read_child(child), pods=tuple(groups.pop(_group(child), ())))
            for child in (*rayjobs, *jobs)
            if stage is None or child["metadata"]["name"] != stage.child
        ]
        orphans = (Attempt(pods=tuple(pods)) for _, pods in sorted(groups.items()))
        return replace(current, pods=tuple(own)), (*earlier, *orphans)

    async def _list_pods(self, job: Job, stage: StageStatus) -> tuple[Pod, ...]:
        """Return the pods of the current attempt."""
        run = job.status.run
        assert run is not None, "an attempt belongs to a run"
        made = labels(job.name, uid=job.uid, stage=stage.name, run=run.id, attempt=stage.attempt)
        selector = ",".join(f"{name}={made[name]}" for name in (JOB_UID_LABEL, RUN_LABEL, STAGE_LABEL, ATTEMPT_LABEL))
        return tuple(pod for _, pod in await self._read_pods(selector, namespace=job.namespace))

    async def _read_pods(self, selector: str, *, namespace: str) -> list[tuple[Manifest, Pod]]:
        pods = await self.cluster.select("Pod", namespace=namespace, labels=selector)
        nodes = await self.nodes.read(node_name(pod) for pod in pods if may_run(pod))
        return [(pod, self._date(read_pod(pod, node=nodes.get(node_name(pod))))) for pod in pods]

    def _date(self, pod: Pod) -> Pod:
        """Return a pod as ready since it was first seen to be; its kubelet uses another clock."""
        if pod.ready_since is None:
            return pod
        return replace(pod, ready_since=self.sightings.since(f"pod {pod.uid}", pod.ready_since))

    def _recall_pods(self, attempt: Attempt, job: Job) -> Attempt:
        """Return an attempt with recently failed pods that are gone; once it is over, they count among its own."""
        stage, run = attempted_stage(job), job.status.run
        comes_up = attempt.child is not None and attempt.child.state == "Waiting"
        if stage is None or run is None or (attempt.is_live and not comes_up):
            return attempt
        there = {pod.uid for pod in attempt.pods}
        made = labels(job.name, uid=job.uid, stage=stage.name, run=run.id, attempt=stage.attempt)
        gone = [pod for pod in self.failed_pods.recall(job.uid, labels=made) if pod.uid not in there]
        return replace(attempt, replaced=tuple(gone)) if comes_up else replace(attempt, pods=(*attempt.pods, *gone))

    async def _explain(self, attempt: Attempt, *, namespace: str) -> Attempt:
        """Return the attempt with the reason why it has no pod or one does not start, if that must be looked up."""
        child = attempt.child
        if child is None or child.state != "Waiting" or not child.admitted:
            return attempt
        if (idle := first_idle(attempt.pods)) is not None:
            return replace(attempt, idle_event=await self.refused_pods.explain_idle(idle, namespace=namespace))
        if not attempt.pods:
            return replace(attempt, pods_refused=await self.refused_pods.explain(child, namespace=namespace))
        if child.has_submitter and not attempt.has_started:
            return replace(attempt, pods_refused=await self.refused_pods.explain_submitter(child, namespace=namespace))
        return attempt

    async def _read_frozen(self, job: Job) -> StoredSnapshot | None:
        run = job.status.run
        if run is None:
            self.forget(job.uid)
            return None
        known = self._frozen.get(job.uid)
        if known is not None and known.run_id == run.id and is_intact(known, run):
            return known
        frozen = await self._find_frozen(job, run)
        if frozen is not None and is_intact(frozen, run):
            check_frozen(frozen)
            self._frozen[job.uid] = frozen
        return frozen

    async def _find_frozen(self, job: Job, run: Run) -> StoredSnapshot | None:
        """Return the ConfigMap of the run; the name of one from 0.1 contains no digest."""
        for snapshot in dict.fromkeys((run.snapshot_digest, "")):
            name = frozen_name(job.name, uid=job.uid, run=run.id, snapshot=snapshot)
            found = await self.cluster.get("ConfigMap", name, namespace=job.namespace)
            if found is not None:
                return read_frozen(found)
        return None

    def _storage_claim(self, job: Job) -> str | None:
        return (job.spec.storage.volume_claim if job.spec else None) or self.settings.storage.volume_claim

    async def _read_claim(self, job: Job, *, claim: str | None) -> tuple[str, ...] | None:
        """Return the access modes of a claim that a run would start with; after the start they no longer matter."""
        if claim is None or job.status.run is not None:
            return None
        found = await self.cluster.get("PersistentVolumeClaim", claim, namespace=job.namespace)
        return tuple((found.get("spec") or {}).get("accessModes") or ()) if found is not None else None

    async def _read_namespace(self, job: Job) -> dict[str, str]:
        """Return labels of the namespace before a run starts; empty if none are needed or they may not be read."""
        if not self.settings.propagate_labels or job.status.run is not None:
            return {}
        try:
            found = await self.cluster.get("Namespace", job.namespace)
        except Refused as error:  # the right is optional, and a job starts without it
            log.warning("labels of namespace %s are not propagated: %s", job.namespace, error)
            return {}
        return _labels(found) if found is not None else {}

    async def _find_missing(self, job: Job) -> tuple[str, ...]:
        """Return the missing ConfigMaps that a run's pods would mount; kubelet would wait for them silently."""
        if job.spec is None or job.status.run is not None:
            return ()
        bundle = self.settings.ca_bundle.config_map
        wanted = sorted({*config_map_folders(job.spec), *([bundle] if bundle else [])})
        found = await asyncio.gather(
            *(self.cluster.exists("ConfigMap", name, namespace=job.namespace) for name in wanted)
        )
        return tuple(name for name, there in zip(wanted, found, strict=True) if not there)


def _cache_claim(job: Job) -> str | None:
    cache = job.spec.model_cache if job.spec is not None else None
    return cache.volume_claim if cache is not None else None


def attempted_stage(job: Job) -> StageStatus | None:
    """Return the stage whose latest attempt is not settled yet; None if there is no such attempt."""
    stage = current_stage(job.status)
    return stage if stage is not None and stage.child and stage.state in (*LIVE, "Failed") else None


def _is_steady(stage: StageStatus, attempt: Attempt) -> bool:
    """Return whether a driver runs, or has just reported its result, and nothing else must be known."""
    child = attempt.child
    return (
        stage.state == "Running"
        and child is not None
        and (child.state, child.admitted, child.ready, child.deleting) == ("Running", True, True, False)
        and attempt.channel is not None
        and attempt.channel.starts <= max(1, stage.starts)  # its pods show why another driver started
    )


def _with_driver(attempt: Attempt) -> Attempt:
    """Return a Job's attempt as running if its driver runs: the Job is not ready while a sidecar is not."""
    child = attempt.child
    if child is None or child.state != "Waiting" or attempt.driver != "Running":
        return attempt
    return replace(attempt, child=replace(child, state="Running"))


def _group_of(job: Job, stage: StageStatus, *, run: str) -> Group:
    made = labels(job.name, uid=job.uid, stage=stage.name, run=run, attempt=stage.attempt)
    return _group({"metadata": {"labels": made}})


def _group(resource: Manifest) -> Group:
    found = _labels(resource)
    return found.get(RUN_LABEL, ""), found.get(STAGE_LABEL, ""), found.get(ATTEMPT_LABEL, "")


def _labels(resource: Manifest) -> dict[str, str]:
    return resource["metadata"].get("labels") or {}
