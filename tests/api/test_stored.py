"""Stored JSON: whoever reads what another version wrote ignores what it does not know, at every depth."""

import copy
import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis.strategies import DataObject, SearchStrategy, data
from pydantic import BaseModel, ValidationError

from kubedistill.chain import CHAIN, ArtifactName
from kubedistill.contract import CONTRACT, Prices, StageJob, StageProgress, StageResult
from kubedistill.manifest.settings import Images, Pool
from kubedistill.report.models import Report
from kubedistill.stored import read_stored, read_stored_json
from kubedistill.v1alpha1 import DistillationJob, Spec, Status
from support.sample_reports import make_values

Values = dict[str, Any]
SPEC: Values = {
    "task": {"type": "QA"}, "teachers": [{"name": "main", "model": {"source": "teacher"}, "resources": {}}],
    "student": {"model": {"source": "student"}, "resources": {"pool": "h100"}}, "data": {"train": {"uri": "a"}},
    "training": {"objective": {}, "optimizer": {}, "validation": {}}, "evaluation": {"gate": {}}, "export": [{}],
    "storage": {"uri": "file:///store"}, "queue": {"name": "a"}, "retry": {}, "pods": {}, "stages": {"train": {}},
}  # fmt: skip
STAGE_JOB: Values = {
    "contract": 1, "job": {"namespace": "a", "name": "b", "uid": "c"}, "run": {"id": "local", "digest": "0"},
    "stage": "Train", "attempt": 1, "token": "t", "spec": SPEC, "store": "file:///s", "dataRoot": "file:///d",
    "artifacts": {"samples": "k"}, "prices": {"teacher": 1.5}, "pools": {"student": "h100"},
}  # fmt: skip
STATUS: Values = {
    "phase": "Training", "conditions": [{"type": "Progressing", "status": "True", "reason": "Train"}],
    "stages": [{"name": "Train", "state": "Running", "attempt": 2, "restarts": {"preemption": 1}}],
    "run": {"id": "1", "digest": "0", "startedAt": "s", "artifacts": [{"name": "rows", "key": "k"}]},
    "runHistory": [{"id": "0", "outcome": "Superseded"}], "result": {"gatePassed": True},
}  # fmt: skip
STORED: dict[type[BaseModel], Values] = {
    StageJob: STAGE_JOB,
    StageProgress: {"at": "2026-01-01T00:00:00Z", "state": "Working", "figures": {"loss": 1.0}},
    StageResult: {
        "driver": "d", "outcome": "Succeeded", "startedAt": "s", "endedAt": "e", "summary": {"kept": 3},
        "artifacts": {"rows": {"key": "k", "uri": "u", "complete": True}},
    },
    Spec: SPEC,
    Status: STATUS,
    Pool: {"nodeSelector": {"gpu": "h100"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    Images: {"runtime": "image:1"},
    Prices: {"teacher": 2.0},
    Report: make_values()
    | {"latencyControl": {"rounds": 3, "outputTokens": 8, "ratio": 1, "spread": [1, 2], "noise": False}},
}  # fmt: skip
"""Every model that is stored or crosses a process, with each of its objects filled in."""


def objects(model: Any, values: Any) -> Iterator[Values]:
    """Yield every object among the values that a model describes: maps whose keys are data are none."""
    if isinstance(model, type) and issubclass(model, BaseModel) and isinstance(values, dict):
        yield values
        for name, field in model.model_fields.items():
            alias = field.alias or name
            if alias in values:
                yield from objects(Spec if name == "frozen_spec" else field.annotation, values[alias])
        return
    for part in get_args(model):
        if get_origin(model) is dict:
            for value in values.values():
                yield from objects(part, value)
        else:
            for value in values if isinstance(values, list) else [values]:
                yield from objects(part, value)


def newer(model: type[BaseModel], values: Values) -> Iterator[Values]:
    """Yield the values as a later version might write them: each time with one more field in one of their objects."""
    for index in range(len(list(objects(model, values)))):
        changed = copy.deepcopy(values)
        list(objects(model, changed))[index]["laterField"] = {"of": ["another", None]}
        yield changed


def understood(message: BaseModel) -> Any:
    """Return what was read: of a StageJob its spec too, but not the JSON that it carries on."""
    return (message.model_dump(exclude={"frozen_spec"}), message.spec) if isinstance(message, StageJob) else message


@pytest.mark.parametrize("model", STORED, ids=lambda model: model.__name__)
def test_one_unknown_field_anywhere_changes_nothing(model: type[BaseModel]) -> None:
    values = STORED[model]
    expected = understood(read_stored(model, values))
    changes = list(newer(model, values))
    assert len(changes) >= len([one for one in values.values() if isinstance(one, dict) and model is not StageResult])
    assert [one for one in changes if understood(read_stored(model, one)) != expected] == []


@settings(max_examples=25)
@given(drawn=data())
def test_one_unknown_field_anywhere_in_any_spec_changes_nothing(
    drawn: DataObject, valid_specs: SearchStrategy[Values]
) -> None:
    values = drawn.draw(valid_specs)
    expected = read_stored(Spec, values)
    assert all(read_stored(Spec, one) == expected for one in newer(Spec, values))


def test_the_command_line_refuses_an_unknown_field_at_every_depth(job_values: Values) -> None:
    for spec in newer(Spec, SPEC):
        text = json.dumps(job_values | {"spec": spec})
        with pytest.raises(ValidationError, match="laterField"):
            DistillationJob.model_validate_json(text, by_alias=True, by_name=False)


@settings(max_examples=25)
@given(drawn=data())
def test_a_stage_job_carries_the_snapshot_as_it_is(drawn: DataObject, valid_specs: SearchStrategy[Values]) -> None:
    frozen = drawn.draw(valid_specs) | {"laterField": {"nothing": None, "small": 1e-7}}
    job = read_stored(StageJob, STAGE_JOB | {"spec": frozen, "contract": CONTRACT + 1})
    told = json.loads(job.to_json())
    assert (told["spec"], told["contract"]) == (frozen, CONTRACT + 1)
    assert read_stored_json(StageJob, job.to_json()) == job


def test_a_stage_job_may_name_artifacts_that_this_version_does_not_read() -> None:
    job = read_stored(StageJob, STAGE_JOB | {"artifacts": {"samples": "k", "embeddings": "l"}})
    assert job.artifacts == {"samples": "k"}


@pytest.mark.parametrize(("at", "value"), [("task", {"type": "Dance"}), ("retry", {"maxFailures": "many"})])
def test_a_contradictory_spec_is_refused_with_its_field(at: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=rf"spec\.{at}\.{next(iter(value))}"):
        read_stored(StageJob, STAGE_JOB | {"spec": SPEC | {at: value}})


REQUIRED = {
    StageJob: {"job", "run", "stage", "attempt", "token", "spec", "store", "dataRoot"},
    StageProgress: {"at", "state"},
    StageResult: {"driver", "outcome", "startedAt", "endedAt"},
    Spec: {"task", "teachers", "student", "data"},
    Status: set(), Pool: set(), Images: set(), Prices: set(),
    Report: {
        "arms", "comparison", "reductions", "gate", "data", "training", "labels", "examples", "provenance",
    },
}  # fmt: skip


@pytest.mark.parametrize("model", STORED, ids=lambda model: model.__name__)
def test_no_field_is_required_that_0_1_did_not_write(model: type[BaseModel]) -> None:
    fields = model.model_fields
    assert {fields[name].alias or name for name in fields if fields[name].is_required()} == REQUIRED[model]


CONTRACTS: dict[int, tuple[set[str], set[str], set[str], set[str]]] = {
    1: (
        {"Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"},
        {"rows", "answers", "judge", "dataset", "samples", "student", "report", "export"},
        {"Succeeded", "Failed", "Stopped"},
        {"Loading", "Working", "Stopping"},
    ),
}  # fmt: skip
"""Stages, artifacts, outcomes and states that a reader of each contract knows."""


def test_a_name_that_an_older_reader_must_not_ignore_raises_the_contract() -> None:
    def choices(kind: Any) -> set[str]:
        assert get_origin(kind) is Literal
        return set(get_args(kind))

    outcome, state = StageResult.model_fields["outcome"].annotation, StageProgress.model_fields["state"].annotation
    known = ({one.name for one in CHAIN}, choices(ArtifactName), choices(outcome), choices(state))
    assert known == CONTRACTS[CONTRACT]
