"""Objects of one job as the API server would hold them, and the paths of their collections."""

from typing import Any

from kubedistill.chain import STAGES, StageName
from kubedistill.v1alpha1 import Run, StageStatus, Status
from kubedistill_operator import names
from kubedistill_operator.children.child_kinds import child_kind
from kubedistill_operator.job import Job, parse_job
from support.fake_cluster import small_spec

Object = dict[str, Any]
RAYJOBS, JOBS, PODS, MAPS = "ray.io/v1/rayjobs", "batch/v1/jobs", "v1/pods", "v1/configmaps"
DISTILLATIONS = "kubedistill.io/v1alpha1/distillationjobs"
NODES, CLAIMS, EVENTS = "v1/nodes", "v1/persistentvolumeclaims", "v1/events"
RUN = Run(id="one", digest="d" * 64, started_at="2026-03-01T12:00:00Z")


def with_status(resource: Object, status: Status, *, stored: Object | None = None) -> Job:
    """Return the job of a resource whose status is that one, with what another version stored in its place."""
    values = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return parse_job(resource | {"status": values | (stored or {})})


def at_stage(
    resource: Object, name: StageName, *, state: str = "Running", attempt: int = 1, child_uid: str = ""
) -> Job:
    """Return a job in the middle of its run: the stages before are done, this one is in a state."""
    uid, job = resource["metadata"]["uid"], resource["metadata"]["name"]
    done = list(STAGES)[: list(STAGES).index(name)]
    stages = [
        StageStatus(name=one, state="Succeeded", attempt=1, child=child_of(resource, one, attempt=1)) for one in done
    ]
    child = names.child_name(job, name, uid=uid, run=RUN.id, attempt=attempt)
    stages.append(StageStatus(name=name, state=state, attempt=attempt, child=child, child_uid=child_uid))
    stages += [StageStatus(name=one) for one in list(STAGES)[len(done) + 1 :]]
    return with_status(resource, Status(phase="Training", stage=name, attempt=attempt, run=RUN, stages=tuple(stages)))


def child_of(resource: Object, stage: StageName, *, attempt: int) -> str:
    """Return the name of an attempt's child."""
    metadata = resource["metadata"]
    return names.child_name(metadata["name"], stage, uid=metadata["uid"], run=RUN.id, attempt=attempt)


def child(resource: Object, stage: StageName, *, attempt: int = 1, **status: Any) -> Object:
    """Return the RayJob or Job of an attempt."""
    name = child_of(resource, stage, attempt=attempt)
    kind = child_kind(stage, parse_job(resource).spec or small_spec())
    return {"kind": kind, "metadata": _metadata(resource, name, stage, attempt), "spec": {}, "status": status}


def pod(resource: Object, name: str, stage: StageName, *, attempt: int = 1, node: str = "", **status: Any) -> Object:
    """Return a pod of an attempt."""
    spec = {"nodeName": node} if node else {}
    return {"kind": "Pod", "metadata": _metadata(resource, name, stage, attempt), "spec": spec, "status": status}


def channel(resource: Object, stage: StageName, *, attempt: int = 1, **data: str) -> Object:
    """Return the ConfigMap that an attempt's driver writes."""
    name = names.out_name(child_of(resource, stage, attempt=attempt))
    values = {key.replace("_", "."): value for key, value in data.items()}
    metadata = _metadata(resource, name, stage, attempt)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"owner": "t", "starts": "0"} | values,
    }


def _metadata(resource: Object, name: str, stage: StageName, attempt: int) -> Object:
    uid, job = resource["metadata"]["uid"], resource["metadata"]["name"]
    return {
        "name": name,
        "namespace": resource["metadata"]["namespace"],
        "uid": f"uid-of-{name}",
        "labels": names.labels(job, uid=uid, stage=stage, run=RUN.id, attempt=attempt),
        "ownerReferences": [{"kind": "DistillationJob", "name": job, "uid": uid, "controller": True}],
    }
