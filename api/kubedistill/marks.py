"""Marks: the labels of what belongs to a job, and the annotations by which people ask something of it once."""

from kubedistill.v1alpha1.job import GROUP

JOB_LABEL, JOB_UID_LABEL = f"{GROUP}/job", f"{GROUP}/job-uid"
STAGE_LABEL, RUN_LABEL, ATTEMPT_LABEL = f"{GROUP}/stage", f"{GROUP}/run", f"{GROUP}/attempt"
RERUN_ANNOTATION, CANCEL_ANNOTATION = f"{GROUP}/rerun", f"{GROUP}/cancel"
"""Each is acted on once per token, which is the annotation's value."""
RELEASE_ANNOTATION = f"{GROUP}/release"
"""With any value, it starts a job that settings.onRestore holds."""
OUR_DOMAINS = (GROUP, "ray.io", "batch.kubernetes.io")
QUEUE_DOMAINS = ("kueue.x-k8s.io",)  # as a label it would queue each pod; as an annotation it asks for a topology
OUR_KEYS = ("app.kubernetes.io/managed-by", "job-name", "controller-uid")


def is_reserved(key: str, *, domains: tuple[str, ...]) -> bool:
    """Whether a label or annotation is set by others than users: its key, or the domain of it or one above."""
    domain = key.partition("/")[0] if "/" in key else ""
    return key in OUR_KEYS or any(domain == one or domain.endswith(f".{one}") for one in domains)
