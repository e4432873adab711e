"""Reading a resource: whatever is in spec and status becomes a Job, and never an exception."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.runs import requested_run
from kubedistill.v1alpha1 import Status
from kubedistill_operator.job import Job, parse_job
from support.messages import CheckMessage

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
    "missing field": (("data",), None, "spec.data: the required field is missing. Add `data`"),
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


def test_a_resource_without_a_spec_is_a_problem_too(resource: Values, check_message: CheckMessage) -> None:
    del resource["spec"]
    check_message(parse_job(resource).problem)


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
        "phase": "Training",
        "mood": "good",
        "stages": [{"name": "Train", "attempt": 2, "colour": "red"}],
    }
    status = parse_job(resource).status
    assert (status.phase, status.stages[0].attempt) == ("Training", 2)


def test_a_phase_of_another_version_is_derived_again(resource: Values) -> None:
    resource["status"] = {
        "phase": "Distilling",
        "run": {"id": "one", "digest": "d", "startedAt": ""},
        "stages": [{"name": "Prepare", "state": "Succeeded"}, {"name": "Generate", "state": "Running"}],
    }
    job = parse_job(resource)
    assert (job.status.phase, job.not_understood) == ("Generating", "")
    resource["status"]["conditions"] = [{"type": "Complete", "status": "True", "reason": "Exported"}]
    assert parse_job(resource).status.phase == "Succeeded"


WHOLE: Values = {
    "stages": [{"name": "Prepare", "state": "Succeeded"}, {"name": "Train", "state": "Running", "child": "t-1"}],
    "run": {"id": "one", "digest": "d", "startedAt": "", "artifacts": [{"name": "rows", "key": "k"}]},
    "runHistory": HISTORY, "conditions": [{"type": "Progressing", "status": "True", "reason": "Train"}],
}  # fmt: skip
NOT_UNDERSTOOD = {
    "stage": (("stages", 1, "name"), "Reflect", 'status.stages[1].name: "Reflect" is not one of'),
    "state": (("stages", 1, "state"), "Paused", 'status.stages[1].state: "Paused" is not one of'),
    "outcome": (("runHistory", 0, "outcome"), "Paused", 'status.runHistory[0].outcome: "Paused" is not one of'),
    "artifact": (("run", "artifacts", 0, "name"), "plan", 'status.run.artifacts[0].name: "plan" is not one of'),
    "condition": (("conditions", 0, "status"), "Maybe", 'status.conditions[0].status: "Maybe" is not one of'),
    "a field that is absent": (("run", "digest"), None, "status.run.digest: the required field is missing"),
    "a list that is longer": (("runHistory",), HISTORY * 21, "status.runHistory: list should have at most 20 items"),
    "another type": (("stages", 1, "attempt"), "first", "status.stages[1].attempt: input should be a valid integer"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_UNDERSTOOD)
def test_unknown_parts_of_a_status_are_named_and_the_rest_is_read(case: str, resource: Values) -> None:
    path, value, problem = NOT_UNDERSTOOD[case]
    resource["status"] = copy.deepcopy(WHOLE)
    target = resource["status"]
    for part in path[:-1]:
        target = target[part]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    job = parse_job(resource)
    assert job.not_understood.startswith(problem)
    assert job.stored_status == resource["status"]
    assert len(job.status.stages) == (1 if case == "stage" else 2)
    assert (job.status.run is None) == (case == "a field that is absent")


def test_a_request_that_0_1_handled_is_not_handled_again(resource: Values) -> None:
    resource["metadata"]["annotations"] = {"kubedistill.io/rerun": "7"}
    resource["status"] = {**WHOLE, "honoured": ["rerun:7"]}
    job = parse_job(resource)
    assert job.status.handled_requests == ("rerun:7",)
    assert requested_run(run_id=None, annotations=job.annotations, status=job.status) is None


@pytest.mark.parametrize("damage", [{"attempt": -1}, {"message": "x" * 5000}, {"stage": 7}, {"eta": []}])
def test_fields_that_every_write_derives_again_may_hold_anything(damage: Values, resource: Values) -> None:
    resource["status"] = {**WHOLE, **damage}
    job = parse_job(resource)
    assert (job.not_understood, job.status.run_history[0].id, len(job.status.stages)) == ("", "one", 2)


def test_a_spec_with_an_unknown_field_is_read_and_starts_no_new_run(
    resource: Values, check_message: CheckMessage
) -> None:
    resource["spec"]["training"] = {"adapter": {"type": "LoRA"}}
    job = parse_job(resource)
    assert job.spec is not None
    check_message(job.problem, "spec.training.adapter", "adapter")
    resource["spec"]["task"]["type"] = "Dance"
    assert parse_job(resource).spec is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["phase", "stages", "run", "conditions", "runHistory", "honoured", "handledRequests", "attempt"]
)


@given(spec=JSON, status=st.dictionaries(FIELDS, JSON) | JSON)
def test_nothing_in_a_resource_raises(spec: Any, status: Any) -> None:
    metadata = {"name": "support", "namespace": "team-a", "uid": "u"}
    job = parse_job({"metadata": metadata, "spec": spec, "status": status})
    assert isinstance(job, Job)
    assert job.spec is not None or job.problem
