"""The layout: which pods a stage needs, where they run and what each of them requests."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from pydantic import ValidationError

from kubedistill.chain import STAGES, StageName
from kubedistill.errors import InvalidManifest, InvalidPool, PoolNotAllowed, TooFewGPUs, UnknownPool
from kubedistill.manifest.problems import Location, field_path, find_problem
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.quantities import cores, times
from kubedistill.v1alpha1 import Spec, StageResources, TeacherModel, TeacherResources

RAY_STAGES: frozenset[StageName] = frozenset({"Generate", "Train", "Evaluate"})
"""Stages that serve or train a model."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one pod runs and what it requests; without a pool, on any node, and without GPUs."""

    pool: Pool | None
    cpu: str
    memory: str
    gpus: int = 0
    ephemeral_storage: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Identical workers."""

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
    """The manifest field that names the pool, or would name it."""

    @property
    def gpus(self) -> int:
        """GPUs that the stage holds while it runs."""
        return sum(group.pods * group.placement.gpus for group in self.groups)


@dataclass(frozen=True, slots=True)
class NamedPool:
    """The name of a pool in a spec, if there is one, and the field that names it or would name it."""

    name: str | None
    field: str


@dataclass(frozen=True, slots=True)
class _PoolChoice:
    """The pool that a stage runs on, and the field that selects it."""

    pool: Pool | None
    name: str | None
    field: str

    @property
    def gpus_per_node(self) -> int:
        return self.pool.gpus_per_node if self.pool else 0


@dataclass(frozen=True, slots=True)
class _WorkerNeeds:
    """Workers as the spec requests them: a number of pods, and GPUs for each."""

    group: str
    pods: int
    gpus: int


def lay_out(stage: StageName, spec: Spec, *, namespace: str, pools: Mapping[str, Pool], resources: Resources) -> Layout:
    """Return the pods of a stage; `resources` applies to pods without a pool and without overrides.

    Raises UnknownPool, PoolNotAllowed, TooFewGPUs or, for teachers in different pools, InvalidManifest.
    """
    override: StageResources = getattr(spec.stages, stage.lower())
    choice = _choose_pool(stage, spec, override, namespace=namespace, pools=pools)
    needs = _worker_needs(stage, spec, choice)
    if needs is None:
        driver = _apply_override(_placement(choice.pool, 0, resources), override)
        return Layout(driver, pool=choice.name, field=choice.field)
    group = WorkerGroup(needs.group, needs.pods, _placement(choice.pool, needs.gpus, resources))
    return Layout(
        _apply_override(_placement(None, 0, resources), override), (group,), pool=choice.name, field=choice.field
    )


def named_pools(spec: Spec) -> set[str]:
    """Return the names of the pools that a spec names."""
    stages = (getattr(spec.stages, stage.lower()).pool for stage in STAGES)
    names = (*(teacher.resources.pool for teacher in spec.teachers), spec.student.resources.pool, *stages)
    return {name for name in names if name is not None}


def check_pools(spec: Spec, pools: Mapping[str, Pool]) -> None:
    """Raise InvalidPool for a pool of a spec that Kubernetes would refuse; earlier versions accepted such pools."""
    for name in sorted(named_pools(spec) & pools.keys()):
        try:
            Pool.model_validate_json(pools[name].model_dump_json(by_alias=True))
        except ValidationError as error:
            found = find_problem(error, model=Pool, place=partial(_field_of, name))
            fix = f"{found.fix}; a run that has begun needs a new spec.runID to use it"
            raise InvalidPool(found.problem, at=found.at, fix=fix) from error


def _field_of(pool: str, location: Location) -> str:
    return field_path(("settings", "pools", pool, *(part for part in location if part != "[key]")))


def _choose_pool(
    stage: StageName, spec: Spec, override: StageResources, *, namespace: str, pools: Mapping[str, Pool]
) -> _PoolChoice:
    field, name = f"spec.stages.{stage.lower()}.pool", override.pool
    if name is None and stage == "Generate":
        found = teachers_pool(spec)
        field, name = found.field, found.name
    elif name is None and stage in RAY_STAGES:
        field, name = "spec.student.resources.pool", spec.student.resources.pool
    if name is None:
        return _PoolChoice(None, None, field)
    allowed = sorted(one for one, pool in pools.items() if _is_allowed(pool, namespace))
    fix = f"Name one of {', '.join(allowed)}" if allowed else "Ask the platform team for a pool"
    if name not in pools:
        raise UnknownPool(f'there is no pool "{name}"', at=field, fix=fix)
    if name not in allowed:
        raise PoolNotAllowed(f'pool "{name}" is not allowed in namespace "{namespace}"', at=field, fix=fix)
    return _PoolChoice(pools[name], name, field)


def _is_allowed(pool: Pool, namespace: str) -> bool:
    return not pool.allowed_namespaces or namespace in pool.allowed_namespaces


def _worker_needs(stage: StageName, spec: Spec, choice: _PoolChoice) -> _WorkerNeeds | None:
    """Return the workers of a stage; None if the driver does everything."""
    if stage == "Generate":
        return _teachers_needs(spec, choice)
    student = spec.student.resources
    if stage == "Train" and (student.workers > 1 or student.gpus_per_worker):
        _check_gpus(student.gpus_per_worker, choice, at="spec.student.resources.gpusPerWorker")
        return _WorkerNeeds("student", student.workers, student.gpus_per_worker)
    if stage == "Evaluate":
        # Students are served one after another, each on one GPU.
        gpus = min(1, student.gpus_per_worker)
        _check_gpus(gpus, choice, at="spec.student.resources.gpusPerWorker")
        return _WorkerNeeds("student", 1, gpus)
    return None


def teachers_pool(spec: Spec) -> NamedPool:
    """Return the pool of the served teachers, which answer one after another on the same workers.

    Raises InvalidManifest if they name different pools.
    """
    served = [
        NamedPool(teacher.resources.pool, f"spec.teachers[{place}].resources.pool")
        for place, teacher in enumerate(spec.teachers)
        if teacher.model is not None
    ]
    first, *others = served or [NamedPool(None, "spec.stages.generate.pool")]
    for other in others:
        if other.name != first.name:
            raise InvalidManifest(
                f"it is {_quoted(other.name)}, and {first.field} is {_quoted(first.name)}, but the teachers of a job "
                "answer one after another on the same workers",
                at=other.field,
                fix="Name one pool in both, or set spec.stages.generate.pool",
            )
    return first


def _teachers_needs(spec: Spec, choice: _PoolChoice) -> _WorkerNeeds | None:
    """Return workers that are enough for each served teacher: they are served one after another."""
    needs = [
        _teacher_needs(teacher.model, teacher.resources, choice, at=f"spec.teachers[{place}].model")
        for place, teacher in enumerate(spec.teachers)
        if teacher.model is not None
    ]
    if not needs:
        return None
    return _WorkerNeeds("teacher", max(need.pods for need in needs), max(need.gpus for need in needs))


def _teacher_needs(model: TeacherModel, resources: TeacherResources, choice: _PoolChoice, *, at: str) -> _WorkerNeeds:
    """Return a teacher's workers: tensor-parallel GPUs must share a pod, but pipeline stages need not."""
    tensor, pipeline = model.tensor_parallel_size, model.pipeline_parallel_size
    if choice.gpus_per_node or tensor > 1:
        _check_gpus(tensor, choice, at=f"{at}.tensorParallelSize")
    elif pipeline > 1:
        _check_gpus(1, choice, at=f"{at}.pipelineParallelSize")
    return _WorkerNeeds("teacher", resources.replicas * pipeline, tensor if choice.gpus_per_node else 0)


def _quoted(name: str | None) -> str:
    return "absent" if name is None else f'"{name}"'


def _check_gpus(wanted: int, choice: _PoolChoice, *, at: str) -> None:
    if wanted <= choice.gpus_per_node:
        return
    needed = f"{wanted} GPU{'s' * (wanted > 1)} on one node"
    if choice.name is None:
        raise TooFewGPUs(
            f"this requires {needed}, but no pool is named", at=at, fix=f"Name a pool with GPUs in {choice.field}"
        )
    has = f'a node of pool "{choice.name}" has {choice.gpus_per_node}'
    raise TooFewGPUs(
        f"this requires {needed}, but {has}", at=at, fix=f"Lower it, or name another pool in {choice.field}"
    )


def _placement(pool: Pool | None, gpus: int, resources: Resources) -> Placement:
    if pool is None:
        return Placement(None, resources.cpu, resources.memory, ephemeral_storage=resources.ephemeral_storage)
    share = max(1, gpus)
    cpu, memory = cores(pool.cpu_per_gpu * share), times(pool.host_memory_per_gpu, share)
    return Placement(pool, cpu, memory, gpus=gpus, ephemeral_storage=pool.ephemeral_storage)


def _apply_override(placement: Placement, override: StageResources) -> Placement:
    return replace(placement, cpu=override.cpu or placement.cpu, memory=override.memory or placement.memory)
