"""Which pods a stage needs, where they run, what each asks for, and what is refused."""

import json
from typing import Any

import pytest

from kubedistill.chain import STAGES, StageName
from kubedistill.errors import InvalidInput, InvalidManifest, PoolNotAllowed, TooFewGPUs, UnknownPool
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.layout import Layout, lay_out
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.children.attempt import build_children, check_children
from kubedistill_operator.children.child_kinds import child_kind
from support.child_scenarios import SETTINGS, example_spec, make_request, read_spec, stage_job
from support.messages import CheckMessage

POOLS = {**SETTINGS.pools, "private": Pool(node_selector={"gpu": "private"}, allowed_namespaces=("team-b",))}


def spec_with(*, example: str = "quickstart", **changes: Any) -> Spec:
    return example_spec(example, changes)


def teacher(pool: str | None = None, *, replicas: int = 1, tensor: int = 1, pipeline: int = 1) -> dict[str, Any]:
    model = {"source": "teacher", "tensorParallelSize": tensor, "pipelineParallelSize": pipeline}
    resources = {"replicas": replicas} | ({"pool": pool} if pool else {})
    return {"teachers": [{"name": "main", "model": model, "resources": resources}]}


def endpoint(**fields: Any) -> dict[str, Any]:
    return {"teachers": [{"name": "main", "endpoint": {"model": "large", **fields}}]}


def teachers(*some: dict[str, Any]) -> dict[str, Any]:
    """Return several teachers, named after their place."""
    return {"teachers": [{**one["teachers"][0], "name": f"t{place}"} for place, one in enumerate(some)]}


def student(pool: str | None = None, *, workers: int = 1, gpus: int = 0) -> dict[str, Any]:
    resources = {"workers": workers, "gpusPerWorker": gpus} | ({"pool": pool} if pool else {})
    return {"student": {"model": {"source": "student"}, "resources": resources}}


def layout(stage: StageName, spec: Spec) -> Layout:
    return lay_out(stage, spec, namespace="team-a", pools=POOLS, resources=Resources(cpu="2", memory="8Gi"))


def shown(found: Layout) -> dict[str, tuple[int, str, str, int]]:
    """Pods, cores, memory and GPUs of each group, the driver among them."""
    sites = {"driver": (1, found.driver)} | {group.name: (group.pods, group.placement) for group in found.groups}
    return {name: (pods, placement.cpu, placement.memory, placement.gpus) for name, (pods, placement) in sites.items()}


SMALL = (1, "2", "8Gi", 0)
WHOLE = (1, "16", "48Gi", 0)  # one share of the pool of CPUs
LAYOUTS: dict[str, tuple[StageName, dict[str, Any], dict[str, tuple[int, str, str, int]]]] = {
    "Prepare has a driver only": ("Prepare", {}, {"driver": SMALL}),
    "Curate on a pool has a share of it": ("Curate", {"stages": {"curate": {"pool": "cpu"}}}, {"driver": WHOLE}),
    "Export on a pool of GPUs asks for none": (
        "Export", {"stages": {"export": {"pool": "l4-spot"}}}, {"driver": (1, "7500m", "30Gi", 0)},
    ),
    "an override is the last word about the driver": (
        "Prepare", {"stages": {"prepare": {"pool": "cpu", "cpu": "500m", "memory": "1.5Gi"}}},
        {"driver": (1, "500m", "1.5Gi", 0)},
    ),
    "a teacher without a pool answers on CPU": ("Generate", teacher(), {"driver": SMALL, "teacher": SMALL}),
    "an endpoint needs only a driver": ("Generate", endpoint(), {"driver": SMALL}),
    "replicas on CPU are pods": ("Generate", teacher("cpu", replicas=3),
                                 {"driver": SMALL, "teacher": (3, *WHOLE[1:])}),
    "two replicas of eight GPUs are two pods": (
        "Generate", teacher("h200", replicas=2, tensor=8), {"driver": SMALL, "teacher": (2, "96", "1024Gi", 8)},
    ),
    "each group of a pipeline is a pod": (
        "Generate", teacher("h100", replicas=2, tensor=8, pipeline=2),
        {"driver": SMALL, "teacher": (4, "64", "1024Gi", 8)},
    ),
    "a pool of GPUs gives a small teacher one": (
        "Generate", teacher("l4-spot"), {"driver": SMALL, "teacher": (1, "7500m", "30Gi", 1)},
    ),
    "Generate may run elsewhere than the teacher says": (
        "Generate", {**teacher("cpu"), "stages": {"generate": {"pool": "h100", "cpu": "4"}}},
        {"driver": (1, "4", "8Gi", 0), "teacher": (1, "8", "128Gi", 1)},
    ),
    "one worker on CPU is the driver, and has the pool": ("Train", student("cpu"), {"driver": WHOLE}),
    "one worker on CPU without a pool": ("Train", student(), {"driver": SMALL}),
    "one worker with a GPU is not a driver": (
        "Train", student("a100", gpus=1), {"driver": SMALL, "student": (1, "8", "64Gi", 1)},
    ),
    "workers on CPU are pods": ("Train", student(workers=4), {"driver": SMALL, "student": (4, *SMALL[1:])}),
    "workers have their GPUs": (
        "Train", student("a100", workers=2, gpus=4), {"driver": SMALL, "student": (2, "32", "256Gi", 4)},
    ),
    "students are judged on CPU where they were trained there": (
        "Evaluate", student("cpu", workers=4), {"driver": SMALL, "student": WHOLE},
    ),
    "students are judged on one GPU": (
        "Evaluate", student("a100", workers=2, gpus=4), {"driver": SMALL, "student": (1, "8", "64Gi", 1)},
    ),
    "Evaluate may run elsewhere than the student says": (
        "Evaluate", {**student("a100", gpus=1), "stages": {"evaluate": {"pool": "l4-spot"}}},
        {"driver": SMALL, "student": (1, "7500m", "30Gi", 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout(case: str) -> None:
    stage, changes, expected = LAYOUTS[case]
    assert shown(layout(stage, spec_with(**changes))) == expected


def test_gpus_of_a_layout_are_those_of_all_its_pods() -> None:
    assert layout("Generate", spec_with(**teacher("h100", replicas=2, tensor=8, pipeline=2))).gpus == 32
    assert layout("Curate", spec_with()).gpus == 0


GPUS_PER_WORKER = "spec.student.resources.gpusPerWorker"
TENSOR, PIPELINE = "spec.teachers[0].model.tensorParallelSize", "spec.teachers[0].model.pipelineParallelSize"
TEACHER_POOL, STUDENT_POOL = "spec.teachers[0].resources.pool", "spec.student.resources.pool"
IN_TEACHER_POOL, IN_STUDENT_POOL = f"in {TEACHER_POOL}", f"in {STUDENT_POOL}"
REFUSED: dict[str, tuple[dict[str, Any], type[InvalidInput], str, str]] = {
    "an unknown pool of the teacher": (teacher("b200"), UnknownPool, TEACHER_POOL, "a100, cpu, h100, h200, l4-spot"),
    "an unknown pool of the student": (student("b200"), UnknownPool, STUDENT_POOL, "a100, cpu, h100, h200, l4-spot"),
    "an unknown pool of a stage": (
        {"stages": {"curate": {"pool": "b200"}}}, UnknownPool, "spec.stages.curate.pool", "a100",
    ),
    "teachers in two pools": (
        teachers(endpoint(), teacher("h100"), teacher("h200")), InvalidManifest, "spec.teachers[2].resources.pool",
        "Name one pool in both",
    ),
    "the second teacher needs more GPUs than a node has": (
        teachers(teacher("h100"), teacher("h100", tensor=16)), TooFewGPUs,
        "spec.teachers[1].model.tensorParallelSize", IN_TEACHER_POOL,
    ),
    "another team's pool": (teacher("private"), PoolNotAllowed, TEACHER_POOL, "a100, cpu, h100, h200, l4-spot"),
    "another team's pool for a stage": (
        {"stages": {"export": {"pool": "private"}}}, PoolNotAllowed, "spec.stages.export.pool", "a100",
    ),
    "more GPUs than a node has": (teacher("l4-spot", tensor=8), TooFewGPUs, TENSOR, IN_TEACHER_POOL),
    "GPUs of a pool of CPUs": (teacher("cpu", tensor=2), TooFewGPUs, TENSOR, IN_TEACHER_POOL),
    "GPUs of no pool": (teacher(tensor=2), TooFewGPUs, TENSOR, f"Name a pool with GPUs {IN_TEACHER_POOL}"),
    "a pipeline on CPU": (teacher("cpu", pipeline=2), TooFewGPUs, PIPELINE, IN_TEACHER_POOL),
    "more GPUs than a node of the stage's pool has": (
        {**teacher("h100", tensor=8), "stages": {"generate": {"pool": "l4-spot"}}}, TooFewGPUs, TENSOR,
        "in spec.stages.generate.pool",
    ),
    "workers larger than a node": (student("l4-spot", gpus=8), TooFewGPUs, GPUS_PER_WORKER, IN_STUDENT_POOL),
    "workers with GPUs of a pool of CPUs": (student("cpu", gpus=1), TooFewGPUs, GPUS_PER_WORKER, IN_STUDENT_POOL),
    "workers with GPUs of no pool": (
        student(gpus=1), TooFewGPUs, GPUS_PER_WORKER, f"Name a pool with GPUs {IN_STUDENT_POOL}",
    ),
    "a judge without the GPU that it needs": (
        {**student("a100", gpus=1), "stages": {"evaluate": {"pool": "cpu"}}}, TooFewGPUs, GPUS_PER_WORKER,
        "in spec.stages.evaluate.pool",
    ),
    "a label that is not a name": ({"pods": {"labels": {"a b": "c"}}}, InvalidManifest, "spec.pods.labels", "Use"),
    "a spec too large to be told": (
        {"pods": {"annotations": {f"a{n}": "漢" * 4096 for n in range(32)}}}, InvalidManifest, "spec", "Shorten",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_spec_that_this_cluster_cannot_hold_is_refused_with_field_and_fix(case: str) -> None:
    changes, kind, field, fix = REFUSED[case]
    with pytest.raises(kind) as caught:
        check_children(spec_with(**changes), namespace="team-a", pools=POOLS, create_service_accounts=True)
    assert type(caught.value) is kind
    assert caught.value.at == field
    assert fix in caught.value.fix


def test_a_pool_is_for_the_namespaces_that_it_names() -> None:
    spec = spec_with(**teacher("private", tensor=8))
    check_children(spec, namespace="team-b", pools=POOLS, create_service_accounts=True)


def test_without_any_pool_the_platform_team_is_asked(check_message: CheckMessage) -> None:
    with pytest.raises(UnknownPool) as caught:
        check_children(spec_with(**teacher("h100")), namespace="team-a", pools={}, create_service_accounts=True)
    check_message(caught.value, "h100")


def test_a_job_must_name_a_service_account_where_none_may_be_made() -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_children(spec_with(), namespace="team-a", pools=POOLS, create_service_accounts=False)
    assert caught.value.at == "spec.pods.serviceAccountName"
    named = read_spec({**spec_values(spec_with()), "pods": {"serviceAccountName": "distiller"}})
    check_children(named, namespace="team-a", pools=POOLS, create_service_accounts=False)


@pytest.mark.parametrize(
    "example",
    ["quickstart", "conversation", "qa", "math", "summarization", "deepseek-v3-to-phi-4-mini", "llama-405b-to-3b"],
)
def test_every_example_fits(example: str) -> None:
    check_children(spec_with(example=example), namespace="team-a", pools=POOLS, create_service_accounts=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_engines_and_workers_is_a_plain_job(stage: StageName) -> None:
    served = "RayJob" if stage in ("Generate", "Train", "Evaluate") else "Job"
    assert child_kind(stage, spec_with(**teacher())) == served
    assert child_kind(stage, spec_with(**endpoint())) == ("Job" if stage == "Generate" else served)


@pytest.mark.parametrize("stage", STAGES)
def test_only_generate_gets_the_key_of_an_endpoint(stage: StageName) -> None:
    reference = {"name": "vendor", "key": "token"}
    spec = spec_with(teachers=[{"name": "big-one", "endpoint": {"model": "large", "secretKeyRef": reference}}])
    made = json.dumps(build_children(make_request(stage_job(spec, stage, job="support"))))
    variable = {"name": "KUBEDISTILL_KEY_BIG_ONE", "valueFrom": {"secretKeyRef": reference}}
    assert made.count("KUBEDISTILL_KEY") == (stage == "Generate")
    assert (json.dumps(variable) in made) == (stage == "Generate")
