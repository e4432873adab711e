"""Stores: where a job keeps its artifacts, and which jobs share a store.

Two namespaces share a store only if the settings say so, whatever URIs the settings or their jobs name.
"""

import os.path
from collections.abc import Iterator
from pathlib import Path

from kubedistill.manifest.problems import Location
from kubedistill.manifest.settings import DefaultStorage, SharedStorage
from kubedistill.paths import find_store_problem, local_path
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.pods import STORAGE_PATH

Store = tuple[str, str, str]
"""(namespace, claim, URI), so that equal stores are equal values; the namespace is empty if several share the store."""

CLAIMED_STORE = f"file://{STORAGE_PATH}"
"""The root of a claim: the store if neither the job nor the settings name a URI."""
OUTSIDE = f"is not in the storage claim, which pods mount at {STORAGE_PATH}, and would be lost with the pod"


def find_uri(spec: Spec, *, namespace: str, storage: DefaultStorage) -> str:
    """Return the root of the store that a run would start with: the job's own, its group's or its namespace's."""
    if spec.storage.uri is not None:
        return spec.storage.uri
    group = _find_group(namespace, storage=storage)
    if group is not None:
        return group.uri
    return f"{storage.uri.rstrip('/')}/{namespace}" if storage.uri is not None else CLAIMED_STORE


def is_in_claim(path: Path) -> bool:
    """Return whether pods keep a path in the claim; anything else is lost with them."""
    return Path(os.path.normpath(path)).is_relative_to(STORAGE_PATH)


def find_claim_problem(uri: str) -> str | None:
    """Return why no job can keep its store at a URI, or None."""
    if (problem := find_store_problem(uri)) is None and not is_in_claim(local_path(uri, root=Path(), at="")):
        problem = f"{uri} {OUTSIDE}"
    return problem


def find_unusable(storage: DefaultStorage) -> Iterator[tuple[Location, str]]:
    """Yield the stores of the settings that no job can use: the field, and why."""
    stores: dict[Location, str | None] = {("storage", "uri"): storage.uri}
    stores |= {("storage", "shared", number, "uri"): group.uri for number, group in enumerate(storage.shared)}
    for field, uri in stores.items():
        if uri is not None and (problem := find_claim_problem(uri)) is not None:
            yield field, problem


def uri_of_0_1(spec: Spec, *, storage: DefaultStorage) -> str:
    """Return the root of the store of a run that version 0.1 started, which all namespaces shared."""
    return spec.storage.uri or storage.uri or CLAIMED_STORE


def find_store(spec: Spec, *, namespace: str, storage: DefaultStorage) -> Store:
    """Return the store of a job; namespaces of a group have the same one, unless the job names its own claim."""
    uri = find_uri(spec, namespace=namespace, storage=storage).rstrip("/")
    group = _find_group(namespace, storage=storage)
    shares = group is not None and group.uri.rstrip("/") == uri and spec.storage.volume_claim is None
    return ("" if shares else namespace, spec.storage.volume_claim or storage.volume_claim or "", uri)


def _find_group(namespace: str, *, storage: DefaultStorage) -> SharedStorage | None:
    return next((group for group in storage.shared if namespace in group.namespaces), None)
