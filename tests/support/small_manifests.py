"""Small Kubernetes objects for tests."""

import copy
from typing import Any

from ruamel.yaml import YAML

from support.small_job import QUICKSTART

Manifest = dict[str, Any]


def distillation_job(name: str) -> Manifest:
    """Return the quickstart's job under another name."""
    job: Manifest = YAML(typ="safe").load((QUICKSTART / "job.yaml").read_text(encoding="utf-8"))
    return job | {"metadata": {"name": name}}


def config_map(name: str, **data: str) -> Manifest:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def owned_by(owner: Manifest, manifest: Manifest, *, blocks_deletion: bool = False) -> Manifest:
    """Return a copy of a manifest with an owner that is in the cluster, as its controller."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": blocks_deletion,
    }
    owned = copy.deepcopy(manifest)
    owned["metadata"]["ownerReferences"] = [reference]
    return owned
