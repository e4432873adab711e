"""Reading a resource: whatever is in spec and status becomes a Job, and never an exception."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import RunRecord, Status
from kubedistill_operator.job import Job, parse_job

Values = dict[str, Any]
HISTORY = [{"id": "one", "outcome": "Succeeded", "endedAt": "2026-03-01T12:00:00Z"}]


def test_a_resource_becomes_a_job(resource: Values) -> None:
    job = parse_job(resource)
    assert (job.namespace, job.name, job.generation, job.resource_version) == ("team-a", "support", 3, "4711")
    assert job.created == 1772366400.0
    assert job.spec is not None
    assert job.spec.student.model.source == "student"
    assert (job.problem, job.deleting, job.status) == ("", False, Status())


def test_fields_of_a_newer_version_are_ignored(resource: Values) -> None:
    old = parse_job(resource)
    resource["spec"] |= {"weather": "fine"}
    resource["spec"]["student"]["model"]["colour"] = "red"
    resource["spec"]["teachers"][0]["resources"] = {"shape": "round"}
    assert parse_job(resource).spec == old.spec


REFUSED_SPECS = {
    "missing field": (("data",), None, "spec.data: the field is required, and missing. Add `data`"),
    "unknown choice": (("task", "type"), "Dance", 'spec.task.type: "Dance" is not one of'),
    "wrong type": (("student", "model", "source"), 7, "spec.student.model.source: input should be a valid string"),
    "out of range": (("retry",), {"maxFailures": -1}, "spec.retry.maxFailures: input should be greater than"),
    "no object": (("student",), [], "spec.student: input should be an object"),
}


@pytest.mark.parametrize("case", REFUSED_SPECS)
def test_a_spec_that_is_refused_becomes_a_problem_that_names_the_field(case: str, resource: Values) -> None:
    path, value, expected = REFUSED_SPECS[case]
    parent = resource["spec"]
    for part in path[:-1]:
        parent = parent[part]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    job = parse_job(resource)
    assert job.spec is None
    assert job.problem.startswith(expected)
    assert len(job.problem) <= 700


def test_a_resource_without_a_spec_is_a_problem_too(resource: Values) -> None:
    del resource["spec"]
    assert parse_job(resource).problem.startswith("spec: input should be an object")


def test_only_our_annotations_are_kept(resource: Values) -> None:
    resource["metadata"]["annotations"] = {"kubedistill.io/rerun": "7", "argocd.argoproj.io/tracking-id": "x" * 1000}
    assert parse_job(resource).annotations == {"kubedistill.io/rerun": "7"}


def test_a_job_that_is_being_deleted_says_so(resource: Values) -> None:
    resource["metadata"]["deletionTimestamp"] = "2026-03-02T12:00:00Z"
    assert parse_job(resource).deleting


def test_a_status_comes_back_as_it_was_written(resource: Values) -> None:
    status = Status.model_validate(
        {"phase": "Training", "stage": "Train", "attempt": 2, "runHistory": tuple(HISTORY)}, strict=False
    )
    resource["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert parse_job(resource).status == status


def test_a_status_of_a_newer_version_is_read_for_what_is_known(resource: Values) -> None:
    resource["status"] = {
        "phase": "Training", "mood": "good",
        "stages": [{"name": "Train", "attempt": 2, "colour": "red"}],
    }  # fmt: skip
    status = parse_job(resource).status
    assert (status.phase, status.stages[0].attempt) == ("Training", 2)


DAMAGED = [
    {"phase": "Dancing"},
    {"attempt": -1},
    {"stages": [{"name": "Dance"}]},
    {"stages": {}},
    {"conditions": [{"type": "Complete", "status": "Perhaps", "reason": "x"}]},
    {"message": "x" * 5000},
    {"run": {"id": 7}},
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_status_is_rebuilt_and_remembers_the_runs_that_are_over(damage: Values, resource: Values) -> None:
    resource["status"] = {"stage": "Train", "runHistory": HISTORY, "honoured": ["rerun:7"], **damage}
    expected = Status(
        run_history=(RunRecord(id="one", outcome="Succeeded", ended_at="2026-03-01T12:00:00Z"),), honoured=("rerun:7",)
    )
    assert parse_job(resource).status == expected


@pytest.mark.parametrize("field", ["runHistory", "honoured"])
@pytest.mark.parametrize("damage", [[{"id": 7}], [{}] * 30, ["x" * 300]])
def test_what_is_damaged_of_the_memory_is_dropped_alone(field: str, damage: Any, resource: Values) -> None:
    resource["status"] = {"runHistory": HISTORY, "honoured": ["rerun:7"], field: damage}
    status = parse_job(resource).status
    assert (len(status.run_history), len(status.honoured)) == ((0, 1) if field == "runHistory" else (1, 0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["phase", "stages", "run", "conditions", "runHistory", "honoured", "attempt", "result"])


@given(spec=JSON, status=st.dictionaries(FIELDS, JSON) | JSON)
def test_nothing_in_a_resource_raises(spec: Any, status: Any) -> None:
    metadata = {"name": "support", "namespace": "team-a", "uid": "u"}
    job = parse_job({"metadata": metadata, "spec": spec, "status": status})
    assert isinstance(job, Job)
    assert (job.spec is None) == bool(job.problem)
