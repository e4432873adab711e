"""Artifacts: what a stage leaves in the store. One is complete when its manifest exists."""

import json
from typing import Any

from kubedistill.canonical import canonical_json
from kubedistill.chain import ArtifactName
from kubedistill.contract import ArtifactRef
from kubedistill_runtime.storage.store import Store

TRAINED = "trained"
"""The part of a student's artifact that appears at once: model, curve and summary. Claims and steps come earlier."""


def folder_of(name: ArtifactName, key: str) -> str:
    """The name under which an artifact's files lie in the store."""
    return f"artifacts/{name}/{key}"


def trained_folder(store: Store, key: str) -> str:
    """The name under which a student's model and curve are; version 0.1 had them in the artifact's folder itself."""
    trained = f"{folder_of('student', key)}/{TRAINED}"
    return trained if store.exists(trained) else folder_of("student", key)


def publish(store: Store, name: ArtifactName, key: str, manifest: dict[str, Any]) -> None:
    """Make an artifact complete by writing its manifest, after all its files are there."""
    store.put(f"{folder_of(name, key)}/manifest.json", canonical_json({"name": name, "key": key, **manifest}))


def find(store: Store, name: ArtifactName, key: str) -> ArtifactRef:
    """An artifact by key, complete or not."""
    complete = bool(key) and store.exists(f"{folder_of(name, key)}/manifest.json")
    return ArtifactRef(key=key, uri=f"{store.uri}/{folder_of(name, key)}", complete=complete)


def read_manifest(store: Store, name: ArtifactName, key: str) -> dict[str, Any]:
    """The manifest of a complete artifact; raises FileNotFoundError for any other."""
    manifest: dict[str, Any] = json.loads(store.read(f"{folder_of(name, key)}/manifest.json"))
    return manifest
