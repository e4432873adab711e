"""Events: what `kubectl describe` shows of a job. The name identifies the content, so a repetition adds none."""

import hashlib
from datetime import UTC, datetime

from kubedistill.v1alpha1 import KIND
from kubedistill_operator.job import Job
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.plan import Event, Manifest
from kubedistill_operator.status import one_line

COMPONENT = "kubedistill-operator"


def event_manifest(event: Event, job: Job, *, now: float, instance: str) -> Manifest:
    """Return the Event about a job: one per reason, subject, run, stage, attempt and generation of the spec."""
    status = job.status
    run = status.run.id if status.run else ""
    about = (event.about,) if event.about else ()
    identity = (job.uid, event.reason, run, status.stage, str(status.attempt), str(job.generation), *about)
    digest = hashlib.sha256("/".join(identity).encode()).hexdigest()[:16]
    time = datetime.fromtimestamp(now, UTC)
    return {
        **KINDS["Event"].header,
        "metadata": {"name": f"{job.name}.{digest}", "namespace": job.namespace},
        "involvedObject": {
            **KINDS[KIND].header,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": one_line(event.message) or event.reason,
        "action": event.reason,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "firstTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
    }
