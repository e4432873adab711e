"""The names that users give their pods' labels and annotations: legal, and not what others steer by."""

import re
from collections.abc import Iterable

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Pods

_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"((?=[^/]{{1,253}}/){_PART}(\.{_PART})*/)?{_NAME}")
_OURS = ("kubedistill.io", "ray.io", "batch.kubernetes.io")
_QUEUES = ("kueue.x-k8s.io",)  # as a label it would queue each pod; as an annotation it asks for a topology
_SINGLE = ("app.kubernetes.io/managed-by", "job-name", "controller-uid")


def check_names(pods: Pods) -> None:
    """Raise InvalidManifest for a label or annotation that Kubernetes refuses, or that is not the user's to set."""
    _check(pods.labels, at="spec.pods.labels", reserved=(*_OURS, *_QUEUES))
    _check(pods.annotations, at="spec.pods.annotations", reserved=_OURS)


def _check(keys: Iterable[str], *, at: str, reserved: tuple[str, ...]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key):
            fix = "Use letters, digits, dashes, underscores and dots, after a domain and a slash if you like"
            raise InvalidManifest(f'"{key}" is no name', at=at, fix=fix)
        domain = key.partition("/")[0] if "/" in key else ""
        if key in _SINGLE or any(domain == one or domain.endswith(f".{one}") for one in reserved):
            raise InvalidManifest(f'"{key}" is set by others than you', at=at, fix="Remove it")
