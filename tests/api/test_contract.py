"""The stage contract: what one side writes the other side reads, even when it is newer."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from pydantic import BaseModel, ValidationError

from kubedistill.chain import CHAIN, ArtifactName
from kubedistill.contract import (
    CONTRACT,
    MESSAGE_BYTES,
    ArtifactRef,
    JobRef,
    Prices,
    RunRef,
    StageJob,
    StageProgress,
    StageResult,
)
from kubedistill.errors import KubedistillError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
STAGES = st.sampled_from([stage.name for stage in CHAIN])
ARTIFACTS = st.sampled_from([name for stage in CHAIN for name in stage.makes])
SUMMARIES = st.dictionaries(st.text(), st.text() | NUMBERS | st.booleans() | st.lists(st.integers()))
PROGRESS = st.builds(
    StageProgress, at=st.text(), done=st.integers(0, 2**53), total=st.integers(0, 2**53), unit=st.text(),
    rate=st.none() | NUMBERS, eta_seconds=st.none() | NUMBERS, gpu_seconds=NUMBERS,
    idle_gpu_seconds=NUMBERS,
    figures=st.dictionaries(st.text(), NUMBERS), message=st.text(max_size=1024),
)  # fmt: skip
RESULTS = st.builds(
    StageResult, driver=st.text(), message=st.text(max_size=4096), started_at=st.text(), ended_at=st.text(),
    gpu_seconds=NUMBERS, idle_gpu_seconds=NUMBERS, artifacts=st.dictionaries(ARTIFACTS, st.builds(ArtifactRef)),
    summary=SUMMARIES,
)  # fmt: skip


@st.composite
def stage_jobs(draw: st.DrawFn, specs: SearchStrategy[dict]) -> StageJob:
    return StageJob(
        job=JobRef(namespace="team-a", name="support", uid=draw(st.text())),
        run=RunRef(id="local", digest="0" * 64),
        stage=draw(STAGES),
        attempt=draw(st.integers(1, 2**31)),
        token=draw(st.text()),
        frozen_spec=draw(specs),
        store="file:///kept",
        data_root="file:///data",
        config_maps=draw(st.dictionaries(st.text(), st.text())),
        artifacts=draw(st.dictionaries(ARTIFACTS, st.text())),
        prices=draw(st.builds(Prices)),
    )


@given(data=st.data())
def test_stage_job_survives_the_way(data: DataObject, valid_specs: SearchStrategy[dict]) -> None:
    job = data.draw(stage_jobs(valid_specs))
    assert StageJob.model_validate_json(job.to_json()) == job


@given(message=PROGRESS | RESULTS)
def test_message_survives_the_way(message: StageProgress | StageResult) -> None:
    assert type(message).model_validate_json(message.to_json()) == message


@given(message=PROGRESS | RESULTS)
def test_message_holds_no_nulls_and_says_its_version(message: StageProgress | StageResult) -> None:
    values = json.loads(message.to_json())
    assert values["contract"] == CONTRACT
    assert None not in values.values()


def example(kind: type[BaseModel], job_values: dict) -> dict[str, Any]:
    """Return the shortest message of a kind."""
    return {
        StageJob: {
            "job": {"namespace": "a", "name": "b"},
            "run": {"id": "local", "digest": "0"},
            "stage": "Train",
            "attempt": 1,
            "token": "t",
            "spec": job_values["spec"],
            "store": "file:///s",
            "dataRoot": "file:///d",
            "artifacts": {"rows": "k"},
            "prices": {},
        },
        StageProgress: {"at": "2026-01-01T00:00:00Z", "state": "Working", "figures": {"loss": 1.0}},
        StageResult: {
            "driver": "d",
            "outcome": "Succeeded",
            "startedAt": "s",
            "endedAt": "e",
            "artifacts": {"rows": {"key": "k", "uri": "u", "complete": True}},
        },
    }[kind]


KINDS = (StageJob, StageProgress, StageResult)


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_contract_are_passed_over(kind: type[BaseModel], job_values: dict) -> None:
    old = example(kind, job_values)
    new = {**old, "contract": CONTRACT + 1, "mood": {"good": True}}
    for part in ("job", "run", "prices"):
        if part in new:
            new[part] = {**new[part], "mood": "good"}
    if kind is StageResult:
        new["artifacts"] = {"rows": {**old["artifacts"]["rows"], "mood": "good"}}
    read = kind.model_validate_json(json.dumps(new))
    assert read == kind.model_validate_json(json.dumps({**old, "contract": CONTRACT + 1}))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (StageJob, "stage", "Distil"),
        (StageJob, "attempt", 0),
        (StageJob, "prices", {"teacher": -1}),
        (StageProgress, "state", "Done"),
        (StageProgress, "done", -1),
        (StageProgress, "message", "x" * 1025),
        (StageResult, "outcome", "Finished"),
        (StageResult, "message", "x" * 4097),
        (StageResult, "artifacts", {"rows": {"key": "k"}}),
    ],
)
def test_contradictory_message_is_refused(kind: type[BaseModel], field: str, value: Any, job_values: dict) -> None:
    with pytest.raises(ValidationError, match=field):
        kind.model_validate_json(json.dumps({**example(kind, job_values), field: value}))


@pytest.mark.parametrize("kind", KINDS)
def test_names_on_the_way_are_camel_case(kind: type[BaseModel], job_values: dict) -> None:
    message = kind.model_validate_json(json.dumps(example(kind, job_values)))
    assert not [name for name in json.loads(message.to_json()) if "_" in name]


def test_longest_texts_leave_room_in_a_message() -> None:
    result = StageResult(
        driver="d" * 32,
        outcome="Failed",
        message="x" * 4096,
        started_at="s",
        ended_at="e",
        artifacts={name: ArtifactRef(key="k" * 64, uri="u" * 512, complete=True) for name in get_args(ArtifactName)},
    )
    assert len(result.to_json().encode()) < MESSAGE_BYTES


def test_every_cause_of_an_error_can_be_told() -> None:
    error = KubedistillError("it broke", at="here", fix="Fix it")
    result = StageResult(
        driver="d",
        outcome="Failed",
        cause=error.cause,
        reason=error.reason,
        message=str(error),
        started_at="s",
        ended_at="e",
    )
    again = StageResult.model_validate_json(result.to_json())
    assert (again.cause, again.reason, again.message) == ("failure", "InternalError", "here: it broke. Fix it")
