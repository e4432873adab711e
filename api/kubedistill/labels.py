"""Labels and annotations of the objects of a job, and annotations with which users send a request to a job."""

from collections.abc import Mapping

from kubedistill.v1alpha1.job import GROUP

PREFIX = f"{GROUP}/"
JOB_LABEL, JOB_UID_LABEL = f"{PREFIX}job", f"{PREFIX}job-uid"
STAGE_LABEL, RUN_LABEL, ATTEMPT_LABEL = f"{PREFIX}stage", f"{PREFIX}run", f"{PREFIX}attempt"
_MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = {_MANAGED_BY_LABEL: "kubedistill"}
QUEUE_LABEL, PRIORITY_LABEL = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
RERUN_ANNOTATION, CANCEL_ANNOTATION = f"{PREFIX}rerun", f"{PREFIX}cancel"
"""Requests: the operator acts once on each token, which is the value of the annotation."""
HANDLED_REQUESTS = 8
"""Number of latest tokens that the status stores."""
RELEASE_ANNOTATION = f"{PREFIX}release"
"""With any value, this annotation starts a job that settings.onRestore holds."""
OUR_DOMAINS = (GROUP, "ray.io", "batch.kubernetes.io")
QUEUE_DOMAINS = ("kueue.x-k8s.io",)  # a label would queue each pod; an annotation requests a topology
OUR_KEYS = (_MANAGED_BY_LABEL, "job-name", "controller-uid")


def is_reserved(key: str, *, domains: tuple[str, ...]) -> bool:
    """Return whether users may not set a label or annotation, by its key, its domain or a parent domain."""
    domain = key.partition("/")[0] if "/" in key else ""
    return key in OUR_KEYS or any(domain == one or domain.endswith(f".{one}") for one in domains)


def requests_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the requests in annotations by verb, in the form of status.handledRequests: the verb and its token."""
    asked = {"rerun": annotations.get(RERUN_ANNOTATION), "cancel": annotations.get(CANCEL_ANNOTATION)}
    return {verb: f"{verb}:{token}" for verb, token in asked.items() if token}
