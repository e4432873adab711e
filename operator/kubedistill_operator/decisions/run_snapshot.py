"""Run snapshots: a run keeps the spec and the settings that it started with, whatever is edited later.

The snapshot's digest is in the job's status, which only the operator writes: anybody who may create ConfigMaps in the
job's namespace can add or replace one, but the operator does not use it.
"""

import json
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import JsonValue

from kubedistill.canonical import digest, text_digest
from kubedistill.contract import CONTRACT
from kubedistill.labels import MANAGED_BY
from kubedistill.manifest.settings import Images, Policy, Pool, Resources, Settings
from kubedistill.placement.layout import named_pools
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import KIND, LIVE_FIELDS, Run, Spec, spec_values, without_former_defaults
from kubedistill.v1alpha1.base import Model
from kubedistill_operator.children.request import owner_reference
from kubedistill_operator.decisions.stores import find_uri, uri_of_0_1
from kubedistill_operator.job import Job
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.names import frozen_name
from kubedistill_operator.observed import StoredSnapshot
from kubedistill_operator.plan import Manifest

_IMAGES_OF_0_1 = {"runtime": "kubedistill/runtime:0.1.0", "runtimeCpu": "kubedistill/runtime-cpu:0.1.0"}
"""Images that 0.1 left out of the runs that it froze."""


class RunStorage(Model):
    """Where a run keeps its artifacts."""

    uri: str
    """Root of the store."""
    volume_claim: str | None = None
    """Claim that holds the store; None if the store is not on a claim."""


class RunSettings(Model):
    """The operator's settings that a run keeps; all others apply to the next pod."""

    pools: dict[str, Pool]
    """The pools that the spec names."""
    images: Images
    storage: RunStorage
    cpu_resources: Resources
    ray_version: str
    submission_mode: Literal["HTTPMode", "K8sJobMode"]
    policy: Policy

    @classmethod
    def of(cls, spec: Spec, settings: Settings, *, store: str) -> Self:
        """Return what a run of a spec would keep now; `store` is the root of its store."""
        named = named_pools(spec)
        return cls(
            pools={name: pool for name, pool in settings.pools.items() if name in named},
            images=settings.images.model_copy(update={"pull_secrets": ()}),  # a renewed Secret serves running jobs too
            storage=RunStorage(
                uri=store,
                volume_claim=spec.storage.volume_claim or settings.storage.volume_claim,
            ),
            cpu_resources=settings.cpu_resources,
            ray_version=settings.ray_version,
            submission_mode=settings.submission_mode,
            policy=settings.policy,
        )

    def apply_to(self, settings: Settings) -> Settings:
        """Return the current settings, with those that the run keeps in their place."""
        kept = {name: getattr(self, name) for name in ("cpu_resources", "ray_version", "submission_mode", "policy")}
        return settings.model_copy(update=kept)


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """One run as it was started."""

    id: str
    digest: str
    spec: Spec
    """The spec as this version understands it."""
    settings: RunSettings
    frozen_spec: dict[str, JsonValue]
    """The spec as JSON values: what the version that froze it wrote, and what the run's image reads."""
    contract: int = CONTRACT
    """Contract of the version that froze the run, and so of the run's image."""
    checks_job: bool = True
    """Whether the run's image accepts the digest of its StageJob; the image of 0.1 does not."""

    @property
    def snapshot(self) -> str:
        """The digest of the run as it is written now."""
        return text_digest(_snapshot_text(self))


def take_snapshot(job: Job, run_id: str, *, settings: Settings) -> RunSnapshot:
    """Return the run that would start now."""
    assert job.spec is not None, "a spec that can't be read starts no run"
    kept = current_settings(job.spec, namespace=job.namespace, settings=settings)
    return RunSnapshot(run_id, spec_digest(job.spec), job.spec, kept, frozen_spec=spec_values(job.spec))


def current_settings(spec: Spec, *, namespace: str, settings: Settings) -> RunSettings:
    """Return the settings that a run of a spec would keep if it started now."""
    store = find_uri(spec, namespace=namespace, storage=settings.storage)
    return RunSettings.of(spec, settings, store=store)


def spec_digest(spec: Spec) -> str:
    """Return the digest of a spec without defaults, live fields and runID."""
    return digest(_run_values(spec_values(spec)))


def has_digest(spec: Spec, wanted: str) -> bool:
    """Return whether a spec has a digest, in this version or in an earlier one, which left its own defaults out."""
    values = _run_values(spec_values(spec))
    return wanted in (digest(values), digest(without_former_defaults(values)))


def is_intact(frozen: StoredSnapshot, run: Run) -> bool:
    """Return whether a ConfigMap holds the run of a status: byte for byte, or by its spec if 0.1 froze the run."""
    if run.snapshot_digest:
        return frozen.snapshot == run.snapshot_digest
    spec = frozen.values.get("spec")
    return isinstance(spec, dict) and frozen.values.get("id") == run.id and digest(_run_values(spec)) == run.digest


def frozen_manifest(job: Job, run: RunSnapshot) -> Manifest:
    """Return the immutable ConfigMap that holds a run, owned by the job."""
    text = _snapshot_text(run)
    return {
        **KINDS["ConfigMap"].header,
        "immutable": True,
        "metadata": {
            "name": frozen_name(job.name, uid=job.uid, run=run.id, snapshot=text_digest(text)),
            "namespace": job.namespace,
            "labels": MANAGED_BY,
            "ownerReferences": [owner_reference(KIND, name=job.name, uid=job.uid)],
        },
        "data": {"run.json": text},
    }


def load_snapshot(frozen: StoredSnapshot, *, settings: Settings) -> RunSnapshot:
    """Read an intact run; what 0.1 did not freeze comes from the current settings. Raises ValueError.

    Fields that a newer operator has written are ignored, so that a downgrade blocks no run.
    """
    values = frozen.values
    spec = read_stored(Spec, values["spec"])
    kept = dict(values)
    by_0_1 = "storage" not in values
    if by_0_1:
        now = RunSettings.of(spec, settings, store=uri_of_0_1(spec, storage=settings.storage))
        kept = now.model_dump(mode="json", by_alias=True) | kept
        kept |= {"images": _IMAGES_OF_0_1 | values["images"]}
    kept["pools"] = {name: pool for name, pool in values["pools"].items() if name in named_pools(spec)}
    return RunSnapshot(
        frozen.run_id,
        frozen.digest,
        spec,
        read_stored(RunSettings, kept),
        frozen_spec=values["spec"],
        contract=frozen.contract,
        checks_job=not by_0_1,
    )


def _snapshot_text(run: RunSnapshot) -> str:
    """Return run.json: with this version's defaults of the settings, but without defaults of the spec."""
    values = {"contract": run.contract, "id": run.id, "digest": run.digest, "spec": run.frozen_spec}
    values |= run.settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(values, sort_keys=True)


def _run_values(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    live = {Spec.model_fields[name].alias or name for name in (*LIVE_FIELDS, "run_id")}
    return {name: value for name, value in values.items() if name not in live}
