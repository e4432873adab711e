"""Where the time of a job goes: marks of each stage in their order, and whose the time between two of them is. Pure.

The wall is from `kubectl apply` to Succeeded, and every moment of it belongs to one span.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from support.node.recorder import Record

Object = dict[str, Any]
SPANS = {
    "pod": "a child is made until its driver's container runs; a Job's driver has ended until the Job says so",
    "Ray": "that container runs until the driver's process starts; the driver has ended until the cluster's pods are "
    "gone, or the next child is made",
    "engine": "vLLM's process, its imports, the model's load and the first token",
    "work": "the rest of what a stage does",
    "ours": "the driver's imports and claim, and the operator: from what it waits for to what it does next",
    "shared": "another job makes the same artifact: the status says so until that job's driver has ended the stage",
}
_STAGE, _ATTEMPT, _JOB = (f"kubedistill.io/{name}" for name in ("stage", "attempt", "job"))
_NODE_TYPE = "ray.io/node-type"


@dataclass(slots=True)
class Stage:
    """One child of a job, with the seconds of each span."""

    name: str
    kind: str
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPANS, 0.0))

    def add(self, span: str, seconds: float) -> None:
        self.seconds[span] += max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class Wall:
    """Where the time of one job went, from apply to Succeeded."""

    job: str
    seconds: float
    stages: tuple[Stage, ...]

    @property
    def ours(self) -> float:
        """The share of it that is ours."""
        return sum(stage.seconds["ours"] for stage in self.stages) / self.seconds


def spans_of(
    record: Record, job: str, *, applied: float, succeeded: float, logs: dict[str, str], others: Iterable[str] = ()
) -> list[Stage]:
    """Return the stages of a job in their order; `logs` are the drivers' logs by stage and attempt, such as train-1.

    `others` are logs of drivers for whose artifacts the job may have waited.
    """
    children = sorted(_children(record, job), key=lambda child: child[0])
    freed = [_at(_lines(log), "stage ended") for log in others if "stage ended" in log]
    stages, before = [], applied
    for index, (made, kind, child) in enumerate(children):
        labels = child["metadata"]["labels"]
        stage = Stage(labels[_STAGE], "RayJob" if kind == "rayjobs" else "Job")
        shared = _shared_seconds(record, job, since=before, until=made, freed=freed)
        stage.add("shared", shared)
        stage.add("ours", made - before - shared)
        log = _lines(logs[f"{labels[_STAGE].lower()}-{labels[_ATTEMPT]}"])
        driver = _at(log, "driver started")
        born = driver - next(line["startupSeconds"] for line in log if line["message"] == "driver started")
        began, ended = _at(log, "stage started"), _at(log, "stage ended")
        pods = _pods(record, child)
        runs = min(born, _container_started(pods))
        stage.add("pod", runs - made)
        stage.add("Ray" if kind == "rayjobs" else "pod", born - runs)
        stage.add("ours", began - born)
        engine = _engine_seconds(log)
        stage.add("engine", engine)
        stage.add("work", ended - began - engine)
        following = children[index + 1][0] if index + 1 < len(children) else succeeded
        over = min(following, _over(record, kind, child, pods, ended=ended))
        stage.add("Ray" if kind == "rayjobs" else "pod", over - ended)
        stages.append(stage)
        before = max(over, ended)
    if stages:
        stages[-1].add("ours", succeeded - before)
    return stages


def _shared_seconds(record: Record, job: str, *, since: float, until: float, freed: Sequence[float]) -> float:
    """Return how long a job waited for the artifacts of another, as its status says."""
    told = [one for one in record.changes if (one.kind, one.key[1]) == ("distillationjobs", job) and one.at < until]
    earlier, later = [one for one in told if one.at <= since], [one for one in told if one.at > since]
    shown = next((max(one.at, since) for one in (*earlier[-1:], *later) if _waits_for_other(one.object or {})), until)
    return max((at - shown for at in freed if shown < at < until), default=0.0)


def _waits_for_other(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or []
    return any((one["status"], one["reason"]) == ("False", "SharedArtifact") for one in conditions)


def _children(record: Record, job: str) -> list[tuple[float, str, Object]]:
    found = []
    for kind in ("jobs", "rayjobs"):
        for name, child in record.latest(kind).items():
            if child["metadata"].get("labels", {}).get(_JOB) == job and (made := record.first(kind, name)):
                found.append((made, kind, child))
    return found


def _pods(record: Record, child: Object) -> list[Object]:
    """Return the pods of a child: what its template says of them names stage, run and attempt."""
    labels = {name: value for name, value in child["metadata"]["labels"].items() if name.startswith("kubedistill.io/")}
    pods = record.latest("pods").values()
    return [pod for pod in pods if labels.items() <= pod["metadata"].get("labels", {}).items()]


def _container_started(pods: Sequence[Object]) -> float:
    """Return when the driver's container, the head's or the only one, was started first."""
    times = []
    for pod in pods:
        if pod["metadata"]["labels"].get(_NODE_TYPE, "head") == "head":
            for status in pod.get("status", {}).get("containerStatuses", ()):
                state = status["state"].get("running") or status["state"].get("terminated") or {}
                times += [_seconds(state["startedAt"])] if state.get("startedAt") else []
    return min(times, default=float("inf"))


def _over(record: Record, kind: str, child: Object, pods: Sequence[Object], *, ended: float) -> float:
    """Return when Kubernetes had noticed the end: a Job is complete, a RayJob's pods are gone."""
    if kind == "jobs":
        return record.first("jobs", child["metadata"]["name"], _is_complete) or ended
    gone = [record.gone("pods", pod["metadata"]["name"]) for pod in pods]
    return max((at for at in gone if at is not None), default=ended)


def _is_complete(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or []
    return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)


def _engine_seconds(log: Sequence[Object]) -> float:
    """From each start of a process or an engine to the engine that is ready next."""
    total, since = 0.0, None
    for line in log:
        if line["message"] in ("engine process starting", "engine starting"):
            since = since or _seconds(line["at"])
        elif line["message"] == "engine ready" and since is not None:
            total, since = total + _seconds(line["at"]) - since, None
    return total


def _lines(log: str) -> list[Object]:
    return [json.loads(line) for line in log.splitlines()]


def _at(log: Sequence[Object], message: str) -> float:
    return next(_seconds(line["at"]) for line in log if line["message"] == message)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
