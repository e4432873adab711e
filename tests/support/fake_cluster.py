"""A cluster in memory that does what a Plan says, and lets a test play KubeRay, drivers, queues and accidents.

It knows nothing of why the operator decides; it only keeps what was created, and refuses what an API server would.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kubedistill.canonical import text_digest
from kubedistill.chain import CHAIN, STAGES, StageName
from kubedistill.contract import ArtifactRef, StageJob, StageProgress, StageResult
from kubedistill.manifest.settings import Pool, Settings
from kubedistill.v1alpha1 import Spec, StageStatus, Status
from kubedistill_operator.clock import stamp
from kubedistill_operator.decisions.reconcile import reconcile
from kubedistill_operator.job import Job
from kubedistill_operator.names import frozen_name
from kubedistill_operator.observed import (
    Attempt,
    Channel,
    Child,
    Competitor,
    Observed,
    Pod,
    Refusal,
    StoredSnapshot,
    first_idle,
)
from kubedistill_operator.plan import Event, Plan

NAMESPACE, NAME, UID = "team", "quickstart", "job-uid"
SETTINGS = Settings(pools={"cpu": Pool(gpus_per_node=0), "h100": Pool(node_selector={"gpu": "h100"})})


def small_spec(**changes: Any) -> Spec:
    """Return a valid spec on storage that several nodes share."""
    values: dict[str, Any] = {
        "task": {"type": "QA"},
        "teachers": [{"name": "big", "model": {"source": "teacher"}, "resources": {"pool": "h100"}}],
        "student": {"model": {"source": "student"}, "resources": {"pool": "h100"}},
        "data": {"train": {"uri": "train.jsonl"}},
        "storage": {"uri": "file:///kubedistill/storage/team", "volumeClaim": "shared"},
    }
    return Spec.model_validate_json(json.dumps(values | changes))


@dataclass(slots=True)
class FakeCluster:
    """One job and its cluster; time moves only when a test moves it."""

    spec: Spec = field(default_factory=small_spec)
    problem: str = ""
    """Why no run may start with the spec, where none may."""
    settings: Settings = SETTINGS
    now: float = 1_800_000_000.0
    driver_skew: float = 0.0
    """Seconds by which the clock of drivers is ahead of the operator's."""
    annotations: dict[str, str] = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    generation: int = 1
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    children: dict[str, Child] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    jobs: dict[str, StageJob] = field(default_factory=dict)
    pods: dict[str, tuple[Pod, ...]] = field(default_factory=dict)
    frozen: dict[str, StoredSnapshot] = field(default_factory=dict)
    """ConfigMaps of frozen runs, by name."""
    claim_access_modes: tuple[str, ...] | None = ("ReadWriteMany",)
    cache_access_modes: tuple[str, ...] | None = None
    missing_config_maps: tuple[str, ...] = ()
    pods_refused: str = ""
    """What an Event says of pods that could not be made."""
    idle_event: str = ""
    """What the latest Event of a pod says that does not start."""
    replaced: tuple[Pod, ...] = ()
    """Pods that failed while their child came up."""
    competitors: tuple[Competitor, ...] = ()
    active_in_namespace: int = 0
    gpus_in_namespace: dict[str, int] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the job."""
    refusal: Refusal | None = None
    """Why the API server makes nothing, where it does not."""
    tries: int = 0
    """How often it was asked in vain."""
    events: list[Event] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    """Every child that was ever created, in order."""
    created_manifests: list[dict[str, Any]] = field(default_factory=list)
    """Everything that was created, in order."""
    writes: int = 0
    stored: set[str] = field(default_factory=set)
    """Artifacts that the store holds whole."""
    _uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def job(self) -> Job:
        return Job(
            NAMESPACE,
            NAME,
            uid=UID,
            generation=self.generation,
            created=1_700_000_000.0,
            deleting=self.deleting,
            finalizers=self.finalizers,
            annotations=self.annotations,
            spec=self.spec,
            problem=self.problem,
            status=self.status,
            metadata={"labels": self.labels},
        )

    def observe(self) -> Observed:
        """Return what the operator would see now."""
        current = next((stage for stage in self.status.stages if stage.state not in ("Succeeded", "Skipped")), None)
        name = current.child if current is not None and current.state != "Pending" else ""
        others = [other for other in {*self.children, *self.pods} if other != name]
        return Observed(
            attempt=self.attempt(name),
            earlier=tuple(self.attempt(other) for other in sorted(others)),
            frozen=None if self.deleting else self.frozen_run,
            claim_access_modes=self.claim_access_modes,
            cache_access_modes=self.cache_access_modes,
            missing_config_maps=self.missing_config_maps,
            competitors=self.competitors,
            active_in_namespace=self.active_in_namespace,
            gpus_in_namespace=self.gpus_in_namespace,
            namespace_labels=self.namespace_labels,
        )

    def attempt(self, name: str) -> Attempt:
        pods, whole = self.pods.get(name, ()), name in self.jobs  # whose ConfigMap is made last
        refused = "" if pods else self.pods_refused
        told = self.idle_event if first_idle(pods) else ""
        return Attempt(
            self.children.get(name), self.channels.get(name), pods, refused, told, self.replaced, is_whole=whole
        )

    @property
    def frozen_run(self) -> StoredSnapshot | None:
        """The ConfigMap of the run of the status."""
        run = self.status.run
        if run is None:
            return None
        names = [frozen_name(NAME, uid=UID, run=run.id, snapshot=one) for one in (run.snapshot_digest, "")]
        return next((self.frozen[name] for name in names if name in self.frozen), None)

    def reconcile(self) -> Plan:
        return reconcile(self.job, self.observe(), now=self.now, settings=self.settings)

    def step(self, *, until: int = 99) -> Plan:
        """Reconcile once and carry the plan out, or only its first `until` writes, as if killed after them."""
        plan = self.reconcile()
        if self.refusal is not None and plan.create and plan.status is None:
            self.tries += 1
            observed = replace(self.observe(), refusal=self.refusal)
            plan = reconcile(self.job, observed, now=self.now, settings=self.settings)
        self.execute(plan, until=until)
        return plan

    def settle(self, *, most: int = 40) -> list[Plan]:
        """Step until nothing is left to do without the clock moving; fails where no fixed point is reached."""
        plans = []
        for _ in range(most):
            before = (self.status, tuple(self.children), self.writes)
            plans.append(self.step())
            if (self.status, tuple(self.children), self.writes) == before:
                return plans
        raise AssertionError(f"no fixed point after {most} steps: {[plan.why for plan in plans[-4:]]}")

    def execute(self, plan: Plan, *, until: int = 99) -> None:
        """Carry a plan out in its order."""
        actions: list[Any] = [("status", plan.status)] if plan.status is not None else []
        actions += [("delete", one) for one in plan.delete]
        actions += [("stop", plan.stop)] if plan.stop is not None else []
        actions += [("create", one) for one in plan.create]
        actions += [("event", one) for one in plan.events]
        for kind, value in actions[:until]:
            self.writes += kind != "event"
            getattr(self, f"_{kind}")(value)

    def _status(self, status: Status) -> None:
        self.status = Status.model_validate_json(status.model_dump_json(by_alias=True))

    def _delete(self, deletion: Any) -> None:
        child = self.children.get(deletion.name)
        if child is not None and child.uid == deletion.uid:
            del self.children[deletion.name]  # its pods go later, when a test says so

    def _stop(self, request: Any) -> None:
        name = request.channel.removesuffix("-out")
        self.channels[name] = replace(self.channels[name], stop=True)

    def _event(self, event: Event) -> None:
        self.events.append(event)

    def _create(self, manifest: dict[str, Any]) -> None:
        kind, name, data = manifest["kind"], manifest["metadata"]["name"], manifest.get("data", {})
        self.created_manifests.append(manifest)
        if kind in ("RayJob", "Job"):
            if name not in self.children:
                self.created.append(name)
                self.children[name] = Child(kind, name, f"uid-{next(self._uids)}", self.now, "Waiting")
        elif "run.json" in data:
            values = json.loads(data["run.json"])
            self.frozen.setdefault(name, StoredSnapshot(name, text_digest(data["run.json"]), values))
        elif "job.json" in data:
            self.jobs.setdefault(name, StageJob.model_validate_json(data["job.json"]))
        elif "owner" in data:
            self.channels.setdefault(name.removesuffix("-out"), Channel(data["owner"], int(data["starts"])))

    # What KubeRay, kubelet and drivers do.

    @property
    def live(self) -> str:
        """The name of the current attempt's child."""
        current = next(stage for stage in self.status.stages if stage.state not in ("Succeeded", "Skipped"))
        return current.child

    def run_child(self, name: str, *, driver: str = "d1") -> None:
        """The child's pods run, and its driver claims the attempt."""
        self.children[name] = replace(self.children[name], state="Running", admitted=True, reason="", message="")
        self.pods[name] = (Pod(f"{name}-head", f"pod-{name}", "Running", self.now, node="n1"),)
        self.claim(name, driver=driver)

    def claim(self, name: str, *, driver: str) -> None:
        channel = self.channels[name]
        token = channel.owner.partition(":")[0]
        self.channels[name] = replace(channel, owner=f"{token}:{driver}", starts=channel.starts + 1)

    def progress(self, name: str, *, done: int, total: int = 100, **changes: Any) -> None:
        values = {"at": stamp(self.now + self.driver_skew), "state": "Working", "unit": "rows", **changes}
        said = StageProgress(done=done, total=total, **values)
        self.channels[name] = replace(self.channels[name], progress=said)

    def result(self, name: str, *, driver: str = "d1", **changes: Any) -> None:
        """A driver says its last word; Prepare names all artifacts, every stage completes its own."""
        stage = self.jobs[name].stage
        if changes.get("outcome", "Succeeded") == "Succeeded":
            self.stored |= set(STAGES[stage].makes)
        names = [made for one in CHAIN for made in one.makes] if stage == "Prepare" else STAGES[stage].makes
        artifacts = {one: ArtifactRef(key=f"key-{one}", uri="", complete=one in self.stored) for one in names}
        values: dict[str, Any] = {
            "driver": driver,
            "outcome": "Succeeded",
            "started_at": stamp(self.now),
            "ended_at": stamp(self.now),
            "artifacts": artifacts,
            "summary": self._summary(stage),
        }
        self.channels[name] = replace(self.channels[name], result=StageResult(**(values | changes)))

    def _summary(self, stage: StageName) -> dict[str, Any]:
        judged = {"gate": {"passed": True, "reasons": []}}
        if stage == "Evaluate":
            return judged
        return {"report": judged} if stage == "Prepare" and "report" in self.stored else {}

    def end_child(self, name: str, **changes: Any) -> None:
        """The child has ended; its pods are gone."""
        if name in self.children:
            self.children[name] = replace(self.children[name], state="Ended", **changes)
        self.pods.pop(name, None)

    def complete_stage(self, stage: StageName) -> None:
        """Play one stage to its success."""
        self.settle()
        name = self.live
        assert self.jobs[name].stage == stage, f"{stage} was to run, and {name} does"
        self.run_child(name)
        self.settle()
        self.result(name)
        self.end_child(name)
        self.settle()


def begin(cluster: FakeCluster, stage: StageName) -> str:
    """Play the stages before one to their success, and start that one; returns its child's name."""
    for one in CHAIN:
        if one.name == stage:
            break
        cluster.complete_stage(one.name)
    cluster.settle()
    return cluster.live


def stage_of(cluster: FakeCluster, name: StageName) -> StageStatus:
    """Return what the status says of a stage."""
    return next(stage for stage in cluster.status.stages if stage.name == name)


def reason_of(cluster: FakeCluster, kind: str) -> tuple[str, str]:
    """Return (status, reason) of a condition."""
    condition = cluster.status.condition(kind)
    assert condition is not None, [one.type for one in cluster.status.conditions]
    return condition.status, condition.reason
