"""Writing status: a rollback during a run loses nothing that a newer operator wrote."""

import copy
from typing import Any

from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.cluster.status_writing import stalled_values, status_values
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.status import with_condition, with_run, with_stage

Values = dict[str, Any]
NEWER: Values = {
    "phase": "Distilling", "budget": {"spent": 3}, "honoured": ["rerun:1"],
    "stages": [
        {"name": "Prepare", "state": "Succeeded", "notes": ["a"], "restarts": {"failure": 1, "byCode": {"1": 1}}},
        {"name": "Train", "state": "Running", "attempt": 1, "waited": 12},
    ],
    "run": {
        "id": "one", "digest": "d", "startedAt": "s", "seed": 7,
        "artifacts": [{"name": "rows", "key": "k", "bytes": 9}],
    },
    "runHistory": [{"id": "zero", "outcome": "Failed", "cost": 1.5}],
    "conditions": [
        {"type": "Progressing", "status": "True", "reason": "Train", "severity": "Info"},
        {"type": "Weather", "status": "True", "reason": "Sunny"},
    ],
}  # fmt: skip


def job_of(resource: Values, status: Values) -> Job:
    return parse_job(resource | {"status": copy.deepcopy(status)})


def test_unknown_fields_are_kept_at_every_depth(resource: Values) -> None:
    job = job_of(resource, NEWER)
    status = with_stage(job.status, "Train", state="Succeeded", percent=100)
    status = with_condition(status, "Progressing", "False", reason="Done", now=0, generation=1)
    written = status_values(status, stored=job.stored_status)
    prepare, train = written["stages"]
    assert written["budget"] == {"spent": 3}
    assert (prepare["notes"], prepare["restarts"]["byCode"]) == (["a"], {"1": 1})
    assert (train["waited"], train["state"], train["percent"]) == (12, "Succeeded", 100)
    assert (written["run"]["seed"], written["run"]["artifacts"][0]["bytes"]) == (7, 9)
    assert written["runHistory"][0]["cost"] == 1.5
    by_type = {one["type"]: one for one in written["conditions"]}
    assert (by_type["Progressing"]["status"], by_type["Progressing"]["severity"]) == ("False", "Info")
    assert by_type["Weather"]["reason"] == "Sunny"


def test_state_of_a_deleted_object_does_not_return(resource: Values) -> None:
    job = job_of(resource, NEWER)
    status = job.status.model_copy(
        update={"run": None, "stages": (StageStatus(name="Export"),), "conditions": (), "handled_requests": ()}
    )
    written = status_values(status, stored=job.stored_status)
    assert set(written) == {"observedGeneration", "phase", "budget", "stages", "runHistory"}
    assert set(written["stages"][0]) == {"name", "state", "attempt", "percent", "gpuSeconds", "starts", "restarts"}


def test_both_names_of_a_renamed_field_are_written(resource: Values) -> None:
    job = job_of(resource, {"honoured": ["rerun:1"], "run": {**NEWER["run"], "rewound": False, "rebuilt": False}})
    status = job.status.model_copy(update={"handled_requests": (*job.status.handled_requests, "rerun:2")})
    written = status_values(with_run(status, rebuilt=True), stored=job.stored_status)
    assert written["honoured"] == written["handledRequests"] == ["rerun:1", "rerun:2"]
    assert (written["run"]["rewound"], written["run"]["rebuilt"]) == (True, True)


def test_a_status_that_is_not_understood_gets_one_condition_and_is_kept(resource: Values) -> None:
    stored = {**NEWER, "stages": [{"name": "Reflect", "state": "Running"}]}
    stored["conditions"] = [*NEWER["conditions"], {"type": "Reconciling", "status": "True", "reason": "Pending"}]
    job = job_of(resource, stored)
    written = stalled_values(job, job.not_understood, now=1_772_366_400.0)
    assert written is not None
    *others, stalled = written["conditions"]
    assert others == NEWER["conditions"]
    assert job.not_understood.startswith('status.stages[0].name: "Reflect" is not one of')
    assert stalled == {
        "type": "Stalled",
        "status": "True",
        "reason": "StatusNotUnderstood",
        "message": job.not_understood,
        "observedGeneration": 3,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }
    assert {**written, "conditions": stored["conditions"]} == stored
    again = job_of(resource, written)
    assert stalled_values(again, job.not_understood, now=0) is None
