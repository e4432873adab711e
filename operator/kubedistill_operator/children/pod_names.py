"""Names of the labels and annotations that users set on their pods: valid, and not reserved."""

import re
from collections.abc import Iterable

from kubedistill.errors import InvalidManifest
from kubedistill.labels import OUR_DOMAINS, QUEUE_DOMAINS, is_reserved
from kubedistill.manifest.pod_strings import LABEL
from kubedistill.v1alpha1 import Pods
from kubedistill.v1alpha1.base import DOMAIN

_KEY = re.compile(rf"((?=[^/]{{1,253}}/){DOMAIN}/)?{LABEL}")


def check_names(pods: Pods) -> None:
    """Raise InvalidManifest for a label or annotation that Kubernetes refuses, or that users may not set."""
    _check(pods.labels, at="spec.pods.labels", reserved=(*OUR_DOMAINS, *QUEUE_DOMAINS))
    _check(pods.annotations, at="spec.pods.annotations", reserved=OUR_DOMAINS)


def _check(keys: Iterable[str], *, at: str, reserved: tuple[str, ...]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key):
            fix = "Use letters, digits, dashes, underscores and dots, optionally after a domain and a slash"
            raise InvalidManifest(f'"{key}" is not a valid name', at=at, fix=fix)
        if is_reserved(key, domains=reserved):
            raise InvalidManifest(f'"{key}" is reserved', at=at, fix="Remove it")
