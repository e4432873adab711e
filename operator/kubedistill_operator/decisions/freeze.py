"""Freezing: a run keeps the spec, the pools and the images that it was started with, whatever is edited later."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubedistill.canonical import digest
from kubedistill.contract import CONTRACT
from kubedistill.settings import Images, Pool, Settings
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import API_VERSION, KIND, LIVE_FIELDS, Spec, spec_values, without_former_defaults
from kubedistill_operator.children.request import owner_reference
from kubedistill_operator.job import Job
from kubedistill_operator.names import MANAGED_BY, frozen_name, service_account_name
from kubedistill_operator.observed import Frozen
from kubedistill_operator.plan import Manifest


@dataclass(frozen=True, slots=True)
class FrozenRun:
    """One run as it was started."""

    id: str
    digest: str
    spec: Spec
    """The spec as this version understands it."""
    pools: Mapping[str, Pool]
    images: Images
    frozen_spec: dict[str, Any]
    """The spec as JSON values: what the version that froze it wrote, and what the run's image reads."""
    account: str = ""
    """The ServiceAccount of its pods where the spec names none; empty in a run that version 0.1 began."""
    contract: int = CONTRACT
    """Contract of the version that froze it, and so of the run's image."""


def freeze(job: Job, run_id: str, *, settings: Settings) -> FrozenRun:
    """The run that would start now."""
    assert job.spec is not None, "a spec that can't be read is never started"
    images = settings.images.model_copy(update={"pull_secrets": ()})  # a renewed Secret serves running jobs too
    return FrozenRun(
        run_id, spec_digest(job.spec), job.spec, settings.pools, images, frozen_spec=spec_values(job.spec),
        account=service_account_name(job.name, uid=job.uid),
    )  # fmt: skip


def spec_digest(spec: Spec) -> str:
    """The digest of a spec without defaults, live fields and the run's own name."""
    return digest(_run_values(spec))


def has_digest(spec: Spec, wanted: str) -> bool:
    """Whether a spec has a digest now, or had it to an earlier version, which left its own defaults out."""
    return wanted in (spec_digest(spec), digest(without_former_defaults(_run_values(spec))))


def frozen_manifest(job: Job, run: FrozenRun) -> Manifest:
    """The immutable ConfigMap that holds a run, owned by the job."""
    values = {
        "contract": run.contract,
        "id": run.id,
        "digest": run.digest,
        "spec": run.frozen_spec,
        "pools": {name: _values(pool) for name, pool in run.pools.items()},
        "images": _values(run.images),
        "account": run.account,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "immutable": True,
        "metadata": {
            "name": frozen_name(job.name, uid=job.uid, run=run.id),
            "namespace": job.namespace,
            "labels": MANAGED_BY,
            "ownerReferences": [owner_reference(API_VERSION, KIND, name=job.name, uid=job.uid)],
        },
        "data": {"run.json": json.dumps(values, sort_keys=True)},
    }


def thaw(frozen: Frozen) -> FrozenRun:
    """Read a run back; raises ValueError where somebody tampered with it.

    What a newer operator has written beside what is known here is left aside, so that a downgrade blocks no run.
    """
    values = frozen.values
    pools = values["pools"]
    assert isinstance(pools, Mapping), "the reader checks the shape"
    return FrozenRun(
        id=frozen.run_id,
        digest=frozen.digest,
        spec=read_stored(Spec, values["spec"]),
        pools={name: read_stored(Pool, pool) for name, pool in pools.items()},
        images=read_stored(Images, values["images"]),
        frozen_spec=values["spec"],
        account=str(values.get("account") or ""),
        contract=frozen.contract,
    )


def _run_values(spec: Spec) -> dict[str, Any]:
    live = {Spec.model_fields[name].alias or name for name in (*LIVE_FIELDS, "run_id")}
    return {name: value for name, value in spec_values(spec).items() if name not in live}


def _values(part: Pool | Images) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
