"""The layout: which pods a stage needs, where they run and what each of them asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from pydantic import ValidationError

from kubedistill.chain import STAGES, StageName
from kubedistill.errors import InvalidPool, PoolNotAllowed, TooFewGPUs, UnknownPool
from kubedistill.manifest.problems import Location, field_path, find_problem
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.v1alpha1 import Spec, StageResources
from kubedistill_operator.children.quantities import cores, times
from kubedistill_operator.observed import ChildKind


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one pod runs and what it asks for; without a pool, wherever there is room and no GPU."""

    pool: Pool | None
    cpu: str
    memory: str
    gpus: int = 0
    ephemeral_storage: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Workers that are all alike."""

    name: str
    pods: int
    placement: Placement


@dataclass(frozen=True, slots=True)
class Layout:
    """All pods of a stage: the driver's, and its workers."""

    driver: Placement
    groups: tuple[WorkerGroup, ...] = ()
    pool: str | None = None
    """Name of the pool."""
    field: str = ""
    """The field that names it, or would."""

    @property
    def gpus(self) -> int:
        """GPUs that the stage holds while it runs."""
        return sum(group.pods * group.placement.gpus for group in self.groups)


@dataclass(frozen=True, slots=True)
class _Place:
    """The pool that a stage is to run on, and the field that says so."""

    pool: Pool | None
    name: str | None
    field: str

    @property
    def gpus_per_node(self) -> int:
        return self.pool.gpus_per_node if self.pool else 0


@dataclass(frozen=True, slots=True)
class _Demand:
    """Workers as the spec asks for them: so many pods with so many GPUs each."""

    group: str
    pods: int
    gpus: int


def child_kind(stage: StageName) -> ChildKind:
    """Return what an attempt at a stage is: a RayJob where the stage needs accelerators, else a Job."""
    return "RayJob" if STAGES[stage].accelerated else "Job"


def lay_out(stage: StageName, spec: Spec, *, namespace: str, pools: Mapping[str, Pool], resources: Resources) -> Layout:
    """The pods of a stage; `resources` is for those that no pool and no override says anything about.

    Raises UnknownPool, PoolNotAllowed or TooFewGPUs, which name the field and the fix.
    """
    override: StageResources = getattr(spec.stages, stage.lower())
    place = _find_place(stage, spec, override, namespace=namespace, pools=pools)
    demand = _demand(stage, spec, place)
    if demand is None:
        driver = _overridden(_placement(place.pool, 0, resources), override)
        return Layout(driver, pool=place.name, field=place.field)
    group = WorkerGroup(demand.group, demand.pods, _placement(place.pool, demand.gpus, resources))
    return Layout(_overridden(_placement(None, 0, resources), override), (group,), pool=place.name, field=place.field)


def named_pools(spec: Spec) -> set[str]:
    """Return the names of the pools that a spec names."""
    stages = (getattr(spec.stages, stage.lower()).pool for stage in STAGES)
    names = (*(teacher.resources.pool for teacher in spec.teachers), spec.student.resources.pool, *stages)
    return {name for name in names if name is not None}


def check_pools(spec: Spec, pools: Mapping[str, Pool]) -> None:
    """Raise InvalidPool for a pool of a spec that Kubernetes would refuse; a run may have been frozen with one."""
    for name in sorted(named_pools(spec) & pools.keys()):
        try:
            Pool.model_validate_json(pools[name].model_dump_json(by_alias=True))
        except ValidationError as error:
            found = find_problem(error, model=Pool, place=partial(_field_of, name))
            fix = f"{found.fix}; a run that has begun takes that over under a new spec.runID"
            raise InvalidPool(found.problem, at=found.at, fix=fix) from error


def _field_of(pool: str, location: Location) -> str:
    return field_path(("settings", "pools", pool, *(part for part in location if part != "[key]")))


def _find_place(
    stage: StageName, spec: Spec, override: StageResources, *, namespace: str, pools: Mapping[str, Pool]
) -> _Place:
    field, name = f"spec.stages.{stage.lower()}.pool", override.pool
    if name is None and stage == "Generate":
        field, name = "spec.teachers[0].resources.pool", spec.teachers[0].resources.pool
    elif name is None and child_kind(stage) == "RayJob":
        field, name = "spec.student.resources.pool", spec.student.resources.pool
    if name is None:
        return _Place(None, None, field)
    open_to_us = sorted(one for one, pool in pools.items() if _is_allowed(pool, namespace))
    fix = f"Name one of {', '.join(open_to_us)}" if open_to_us else "Ask the platform team for a pool"
    if name not in pools:
        raise UnknownPool(f'there is no pool "{name}"', at=field, fix=fix)
    if name not in open_to_us:
        raise PoolNotAllowed(f'pool "{name}" is not for namespace "{namespace}"', at=field, fix=fix)
    return _Place(pools[name], name, field)


def _is_allowed(pool: Pool, namespace: str) -> bool:
    return not pool.allowed_namespaces or namespace in pool.allowed_namespaces


def _demand(stage: StageName, spec: Spec, place: _Place) -> _Demand | None:
    """The workers of a stage; None where the driver does it all."""
    if stage == "Generate":
        return _ask_for_teacher(spec, place)
    student = spec.student.resources
    if stage == "Train" and (student.workers > 1 or student.gpus_per_worker):
        _check_gpus(student.gpus_per_worker, place, at="spec.student.resources.gpusPerWorker")
        return _Demand("student", student.workers, student.gpus_per_worker)
    if stage == "Evaluate":
        # The students are served one after another, each on one GPU.
        gpus = min(1, student.gpus_per_worker)
        _check_gpus(gpus, place, at="spec.student.resources.gpusPerWorker")
        return _Demand("student", 1, gpus)
    return None


def _ask_for_teacher(spec: Spec, place: _Place) -> _Demand:
    """GPUs that share each layer must share a pod, since they talk all the time; the groups of a pipeline need not."""
    teacher = spec.teachers[0]
    tensor, pipeline = teacher.model.tensor_parallel_size, teacher.model.pipeline_parallel_size
    if place.gpus_per_node or tensor > 1:
        _check_gpus(tensor, place, at="spec.teachers[0].model.tensorParallelSize")
    elif pipeline > 1:
        _check_gpus(1, place, at="spec.teachers[0].model.pipelineParallelSize")
    return _Demand("teacher", teacher.resources.replicas * pipeline, tensor if place.gpus_per_node else 0)


def _check_gpus(wanted: int, place: _Place, *, at: str) -> None:
    if wanted <= place.gpus_per_node:
        return
    asked = f"{wanted} GPU{'s' * (wanted > 1)} of one node"
    if place.name is None:
        raise TooFewGPUs(f"{asked} can't be had without a pool", at=at, fix=f"Name a pool with GPUs in {place.field}")
    has = f'a node of pool "{place.name}" has {place.gpus_per_node}'
    raise TooFewGPUs(f"{asked} can't be had: {has}", at=at, fix=f"Lower it, or name another pool in {place.field}")


def _placement(pool: Pool | None, gpus: int, resources: Resources) -> Placement:
    if pool is None:
        return Placement(None, resources.cpu, resources.memory, ephemeral_storage=resources.ephemeral_storage)
    share = max(1, gpus)
    cpu, memory = cores(pool.cpu_per_gpu * share), times(pool.host_memory_per_gpu, share)
    return Placement(pool, cpu, memory, gpus=gpus, ephemeral_storage=pool.ephemeral_storage)


def _overridden(placement: Placement, override: StageResources) -> Placement:
    return replace(placement, cpu=override.cpu or placement.cpu, memory=override.memory or placement.memory)
