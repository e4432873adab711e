"""The part of the spec that states how a job runs in a cluster; ignored on one machine."""

from typing import Annotated

from pydantic import Field

from kubedistill.v1alpha1.base import DOMAIN, SOME_LINES, Model, Name

Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{DOMAIN}$")]
LabelledName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{DOMAIN}$")]
"""Name of an object that is used in a label."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
AnnotationValue = Annotated[str, Field(max_length=4096), SOME_LINES]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Queue(Model):
    """The Kueue queue that admits every child of the job."""

    name: LabelledName
    """Name of a LocalQueue in the job's namespace."""
    priority_class: LabelledName | None = None
    """Name of a WorkloadPriorityClass."""


class Retry(Model):
    """Number of attempts at a stage that may fail, by cause, before the job fails."""

    max_failures: Annotated[int, Field(ge=0, le=100)] = 2
    """Attempts that may fail because of code (kubedistill's, a model's or a library's), 0 to 100."""
    max_infrastructure_failures: Annotated[int, Field(ge=0, le=100)] = 3
    """Attempts that may end because a node, the Ray head, the store, the hub, the engine or the API server was lost;
    0 to 100."""
    max_preemptions: Annotated[int, Field(ge=0, le=10_000)] = 10
    """Attempts that may end because of a preemption, 0 to 10,000."""


class Pods(Model):
    """Additional settings of the pods of a job."""

    service_account_name: ObjectName | None = None
    """ServiceAccount of the drivers, for workload identity. Absent: one that the operator creates for the job."""
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets for pulling the images."""
    env_from_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets whose keys become environment variables, such as HF_TOKEN."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels of every pod."""
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = Field(default_factory=dict)
    """Annotations of every pod."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of every pod."""


class StageResources(Model):
    """Overrides of where one stage runs."""

    pool: Name | None = None
    """Name of a pool in the operator's settings."""
    cpu: Quantity | None = None
    """CPU of its driver, such as 4 or 500m."""
    memory: Quantity | None = None
    """Memory of its driver, such as 16Gi."""


class StageOverrides(Model):
    """Overrides of where stages run."""

    prepare: StageResources = StageResources()
    """Prepare, on CPU."""
    generate: StageResources = StageResources()
    """Generate, on the teacher's pool."""
    curate: StageResources = StageResources()
    """Curate, on CPU."""
    train: StageResources = StageResources()
    """Train, on the student's pool."""
    evaluate: StageResources = StageResources()
    """Evaluate, on the student's pool."""
    export: StageResources = StageResources()
    """Export, on CPU."""
