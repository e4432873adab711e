"""Labels and annotations: those of what belongs to a job, and those by which people ask something of it once."""

from collections.abc import Mapping

from kubedistill.v1alpha1.job import GROUP

PREFIX = f"{GROUP}/"
JOB_LABEL, JOB_UID_LABEL = f"{PREFIX}job", f"{PREFIX}job-uid"
STAGE_LABEL, RUN_LABEL, ATTEMPT_LABEL = f"{PREFIX}stage", f"{PREFIX}run", f"{PREFIX}attempt"
_MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = {_MANAGED_BY_LABEL: "kubedistill"}
QUEUE_LABEL, PRIORITY_LABEL = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
RERUN_ANNOTATION, CANCEL_ANNOTATION = f"{PREFIX}rerun", f"{PREFIX}cancel"
"""Each is acted on once per token, which is the annotation's value."""
HANDLED_REQUESTS = 8
"""Tokens that the status remembers, the latest ones."""
RELEASE_ANNOTATION = f"{PREFIX}release"
"""With any value, it starts a job that settings.onRestore holds."""
OUR_DOMAINS = (GROUP, "ray.io", "batch.kubernetes.io")
QUEUE_DOMAINS = ("kueue.x-k8s.io",)  # as a label it would queue each pod; as an annotation it asks for a topology
OUR_KEYS = (_MANAGED_BY_LABEL, "job-name", "controller-uid")


def is_reserved(key: str, *, domains: tuple[str, ...]) -> bool:
    """Whether a label or annotation is set by others than users: its key, or the domain of it or one above."""
    domain = key.partition("/")[0] if "/" in key else ""
    return key in OUR_KEYS or any(domain == one or domain.endswith(f".{one}") for one in domains)


def requests_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return what the annotations ask for, by verb, in the form of status.handledRequests: the verb and its token."""
    asked = {"rerun": annotations.get(RERUN_ANNOTATION), "cancel": annotations.get(CANCEL_ANNOTATION)}
    return {verb: f"{verb}:{token}" for verb, token in asked.items() if token}
