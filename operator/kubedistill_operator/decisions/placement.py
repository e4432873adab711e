"""Placement: whether this cluster can hold a job at all, as far as settings and storage show."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubedistill.errors import InvalidInput
from kubedistill.manifest.limits import check_gpus_per_worker
from kubedistill.manifest.settings import Settings
from kubedistill.paths import local_path, locate
from kubedistill.placement.prices import price_stages
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.attempt import check_children
from kubedistill_operator.decisions.policy import check_policy
from kubedistill_operator.decisions.pool_limits import check_pool_limits
from kubedistill_operator.decisions.stores import CLAIMED_STORE, OUTSIDE, find_claim_problem, find_uri, is_in_claim
from kubedistill_operator.observed import Observed


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job can't start, and how to fix it."""

    reason: str
    message: str
    is_object: bool = False
    """Whether it is an object that is missing or wrong: no watch shows when that has changed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job's spec, and what it must fit into."""

    spec: Spec
    namespace: str
    observed: Observed
    settings: Settings

    @property
    def claim(self) -> str | None:
        """Name of the claim that holds the store."""
        return self.spec.storage.volume_claim or self.settings.storage.volume_claim

    @property
    def claim_field(self) -> str:
        """Where that claim is named."""
        return f"{'spec' if self.spec.storage.volume_claim else 'settings'}.storage.volumeClaim"

    @property
    def store_uri(self) -> str:
        """Root of the store."""
        return find_uri(self.spec, namespace=self.namespace, storage=self.settings.storage)


Check = Callable[[Candidate], Obstacle | None]


def _refused(candidate: Candidate) -> Obstacle | None:
    settings = candidate.settings
    try:
        check_policy(candidate.spec, settings.policy)
        check_children(
            candidate.spec,
            namespace=candidate.namespace,
            pools=settings.pools,
            create_service_accounts=settings.rbac.create_service_accounts,
        )
        check_gpus_per_worker(candidate.spec)
        check_pool_limits(candidate.spec, namespace=candidate.namespace, settings=settings)
        if candidate.spec.budget is not None and candidate.spec.budget.dollars is not None:
            price_stages(candidate.spec, namespace=candidate.namespace, pools=settings.pools)
    except InvalidInput as error:  # not allowed, larger than any node, never admitted, or without a price
        return Obstacle(error.reason, str(error))
    return None


def _unsupported_store(candidate: Candidate) -> Obstacle | None:
    if (problem := find_claim_problem(candidate.store_uri)) is None:
        return None
    named = candidate.spec.storage.uri is not None
    field, who = ("spec.storage.uri", "") if named else ("settings.storage", "ask the platform team to ")
    fix = f"{who}name a folder of the claim, such as {CLAIMED_STORE}/models"
    return Obstacle("InvalidSpec", f"{field}: {problem}; {fix}")


def _export_outside(candidate: Candidate) -> Obstacle | None:
    """Find an export that would be copied to the pod's own disk; the driver refuses other schemes."""
    root = local_path(candidate.store_uri, root=Path(), at="")
    for index, export in enumerate(candidate.spec.export):
        if export.uri is None:
            continue
        at = f"spec.export[{index}].uri"
        try:
            path = locate(export.uri, root=root, at=at).path
        except InvalidInput as error:
            return Obstacle("InvalidSpec", str(error))
        if path is not None and not is_in_claim(path):
            fix = f"name a folder of the claim, such as {CLAIMED_STORE}/exports"
            return Obstacle("InvalidSpec", f"{at}: {export.uri} {OUTSIDE}; {fix}")
    return None


def _no_storage(candidate: Candidate) -> Obstacle | None:
    if candidate.claim is None:
        fix = "name a ReadWriteMany claim, or ask the platform team for a default"
        return Obstacle("NoStorage", f"spec.storage.volumeClaim: {fix}")
    return None


def _storage_not_usable(candidate: Candidate) -> Obstacle | None:
    if candidate.claim is None:
        return None
    claim = _Claim(candidate.claim, candidate.claim_field, "spec.storage.volumeClaim", ("ReadWriteMany",))
    return _find_claim_obstacle(candidate, claim, modes=candidate.observed.claim_access_modes)


def _model_cache_not_usable(candidate: Candidate) -> Obstacle | None:
    """Find a problem of the claim for downloads; one that pods only read can have been filled by somebody else."""
    cache, field = candidate.spec.model_cache, "spec.modelCache.volumeClaim"
    if cache is None:
        return None
    claim = _Claim(cache.volume_claim, field, field, ("ReadWriteMany", "ReadOnlyMany"))
    return _find_claim_obstacle(candidate, claim, modes=candidate.observed.cache_access_modes)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim that all pods of a job mount."""

    name: str
    field: str
    """Where it is named."""
    fix: str
    """The field that can name another."""
    shared_modes: tuple[str, ...]
    """Access modes, of which any is enough to mount it on several nodes."""


def _find_claim_obstacle(candidate: Candidate, claim: _Claim, *, modes: tuple[str, ...] | None) -> Obstacle | None:
    if modes is None:
        problem = f"there is no claim {claim.name!r} in namespace {candidate.namespace}"
        message = f"{claim.field}: {problem}; create it, or name another in {claim.fix}"
        return Obstacle("ClaimNotFound", message, is_object=True)
    if set(modes) & set(claim.shared_modes) or candidate.settings.storage.single_node:
        return None
    problem = f"the access modes of claim {claim.name!r} are {', '.join(modes)}"
    fix = f"name a ReadWriteMany claim in {claim.fix}"
    message = f"{claim.field}: {problem}, and head and workers are on different nodes; {fix}"
    return Obstacle("StorageNotShared", message, is_object=True)


def _config_map_not_found(candidate: Candidate) -> Obstacle | None:
    if not candidate.observed.missing_config_maps:
        return None
    missing = candidate.observed.missing_config_maps[0]
    sources = {split: getattr(candidate.spec.data, split) for split in ("train", "validation", "test")}
    at = next(
        (
            f"spec.data.{split}.configMapKeyRef.name"
            for split, source in sources.items()
            if source and source.config_map_key_ref and source.config_map_key_ref.name == missing
        ),
        "settings.caBundle.configMap",
    )
    message = f"{at}: there is no ConfigMap {missing!r} in this namespace; create it"
    return Obstacle("ConfigMapNotFound", message, is_object=True)


CHECKS: tuple[Check, ...] = (
    _refused,
    _unsupported_store,
    _export_outside,
    _no_storage,
    _storage_not_usable,
    _model_cache_not_usable,
    _config_map_not_found,
)


def find_obstacle(spec: Spec, namespace: str, *, observed: Observed, settings: Settings) -> Obstacle | None:
    """Return the first reason why a job can't start here, or None."""
    candidate = Candidate(spec, namespace, observed, settings)
    return next((found for check in CHECKS if (found := check(candidate)) is not None), None)
