"""The names that users give their pods' labels and annotations: legal, and not what others steer by."""

import re
from collections.abc import Iterable

from kubedistill.errors import InvalidManifest
from kubedistill.labels import OUR_DOMAINS, QUEUE_DOMAINS, is_reserved
from kubedistill.manifest.pod_strings import LABEL
from kubedistill.v1alpha1 import Pods
from kubedistill.v1alpha1.base import DOMAIN

_KEY = re.compile(rf"((?=[^/]{{1,253}}/){DOMAIN}/)?{LABEL}")


def check_names(pods: Pods) -> None:
    """Raise InvalidManifest for a label or annotation that Kubernetes refuses, or that is not the user's to set."""
    _check(pods.labels, at="spec.pods.labels", reserved=(*OUR_DOMAINS, *QUEUE_DOMAINS))
    _check(pods.annotations, at="spec.pods.annotations", reserved=OUR_DOMAINS)


def _check(keys: Iterable[str], *, at: str, reserved: tuple[str, ...]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key):
            fix = "Use letters, digits, dashes, underscores and dots, after a domain and a slash if you like"
            raise InvalidManifest(f'"{key}" is no name', at=at, fix=fix)
        if is_reserved(key, domains=reserved):
            raise InvalidManifest(f'"{key}" is set by others than you', at=at, fix="Remove it")
