"""Forgeries: ConfigMaps as a tenant would plant them, and what the operator would have written in their place."""

import json
from typing import Any

from kubedistill.manifest.settings import Settings
from kubedistill_operator import names
from kubedistill_operator.decisions.run_snapshot import RunSnapshot, frozen_manifest, take_snapshot
from kubedistill_operator.job import parse_job
from support.kube_api import Api, Manifest
from support.operator_harness import OperatorHarness

POOLS = {
    "h200": {"nodeSelector": {"kind": "h200"}, "allowedNamespaces": ["elsewhere"]},
    "l4": {"nodeSelector": {"kind": "l4"}},
}
EVIL = "evil.example/x:1"


def honest_run(job: Manifest) -> RunSnapshot:
    """Return the run that the operator freezes of a job."""
    settings = Settings.model_validate_json(json.dumps({"storage": {"volumeClaim": "shared"}, "pools": POOLS}))
    return take_snapshot(parse_job(job), "1", settings=settings)


def evil_text(job: Manifest) -> str:
    """Return a forged run: any image, another tenant's pool, another account, the honest digest."""
    values = json.loads(frozen_manifest(parse_job(job), honest_run(job))["data"]["run.json"])
    values["images"] |= {"runtime": EVIL, "runtimeCpu": EVIL}
    values["pools"] = {"h200": {"nodeSelector": {"kind": "h200"}, "tolerations": [{"operator": "Exists"}]}}
    values["spec"]["pods"] = {"serviceAccountName": "admin-bot"}
    values["spec"]["stages"] = {name: {"pool": "h200"} for name in ("prepare", "generate", "curate")}
    return json.dumps(values)


def plant(client: Api, harness: OperatorHarness, job: Manifest, name: str, **data: str) -> str:
    """Make a ConfigMap that looks as if the operator had made it for a job."""
    labels = {"app.kubernetes.io/managed-by": "kubedistill", **labels_of(job)}
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner_of(job)]}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "immutable": True, "metadata": metadata, "data": data}
    client.create(manifest, namespace=harness.namespaces[0])
    return name


def owner_of(job: Manifest) -> Manifest:
    """Return the job as the operator would name it as an owner."""
    metadata = job["metadata"]
    return {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def labels_of(job: Manifest, *, stage: Any = "Generate") -> dict[str, str]:
    metadata = job["metadata"]
    return names.labels(metadata["name"], uid=metadata["uid"], stage=stage, run="1", attempt=1)


def child_of(job: Manifest, stage: Any) -> str:
    metadata = job["metadata"]
    return names.child_name(metadata["name"], stage, uid=metadata["uid"], run="1", attempt=1)


def as_0_1_froze_it(job: Manifest) -> Manifest:
    """Return the ConfigMap in which 0.1 would have frozen a job's run."""
    new = frozen_manifest(parse_job(job), honest_run(job))
    values = json.loads(new["data"]["run.json"])
    kept = {part: values[part] for part in ("contract", "id", "digest", "spec", "pools")} | {"images": {}}
    name = names.frozen_name(job["metadata"]["name"], uid=job["metadata"]["uid"], run="1")
    return new | {"metadata": new["metadata"] | {"name": name}, "data": {"run.json": json.dumps(kept)}}
