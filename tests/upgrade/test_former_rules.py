"""Specs that an earlier version took and stored: what today's rules refuse, and what were defaults then."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from kubedistill.client.job import read_job
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.decisions.run_snapshot import has_digest, spec_digest
from kubedistill_operator.job import parse_job
from kubedistill_operator.status import is_true
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec
from support.operator_harness import small_job
from support.tightened_rules import TIGHTENED, Stored

LABELS = {
    "white space at an end": ["yes", "no "],
    "case alone": ["yes", "Yes"],
    "Unicode form alone": ["caf\u00e9", "cafe\u0301"],
}
"""Labels that 0.1 took for different ones, by what tells them apart."""
DEFAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a default that the CRD stored": ({"training": {"epochs": 2, "maxLength": 2048}}, {"training": {"epochs": 2}}),
    "a part that holds nothing else": ({"training": {"maxLength": 2048}}, {}),
    "a default that the manifest names": (
        {"teachers": [{"name": "big", "model": {"source": "teacher", "maxModelLen": 4096}}]},
        {"teachers": [{"name": "big", "model": {"source": "teacher"}}]},
    ),
}
"""What is stored, and what 0.1 froze of it."""


def resource(labels: list[str]) -> dict[str, Any]:
    made = small_job("old", task={"type": "Classification", "labels": labels})
    return {**made, "metadata": {"name": "old", "namespace": "team", "uid": "u"}}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_a_stored_spec_is_read_and_starts_no_new_run(labels: list[str]) -> None:
    stored = resource(labels)
    with pytest.raises(ValidationError):
        Spec.model_validate_json(json.dumps(stored["spec"]))
    job = parse_job(stored)
    assert job.spec is not None
    assert job.spec.task.labels == tuple(labels)
    assert job.problem.startswith("spec.task: labels contains")
    assert read_job(stored).spec == job.spec, "a client shows and suspends it"


OBJECTS = {one.name: one for one in TIGHTENED.values() if isinstance(one, Stored)}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_stored_object_that_a_new_rule_refuses_is_read(name: str) -> None:
    metadata = {"name": name, "namespace": "team", "uid": "u"}
    stored = {**small_job(name, **OBJECTS[name].spec), "metadata": metadata}
    job = parse_job(stored)
    assert job.spec is not None
    assert job.problem
    assert {field: spec_values(job.spec)[field] for field in OBJECTS[name].spec} == OBJECTS[name].spec
    assert read_job(stored).spec == job.spec, "a client shows and suspends it"


@pytest.fixture
def padded() -> FakeCluster:
    """Return a run that 0.1 froze, at Generate."""
    values = spec_values(small_spec()) | {"task": {"type": "Classification", "labels": LABELS["white space at an end"]}}
    cluster = FakeCluster(spec=read_stored(Spec, values))
    begin(cluster, "Generate")
    cluster.problem = "spec.task: labels contains a label with leading or trailing white space"
    return cluster


def test_a_run_under_former_rules_continues(padded: FakeCluster) -> None:
    for stage in ("Generate", "Curate", "Train", "Evaluate", "Export"):
        padded.complete_stage(stage)
    assert padded.status.phase == "Succeeded"
    assert padded.status.condition("SpecDrift") is None


def test_a_run_under_former_rules_is_suspended(padded: FakeCluster) -> None:
    padded.run_child(padded.live)
    padded.settle()
    padded.spec = padded.spec.model_copy(update={"suspend": True})
    padded.settle()
    assert padded.channels[padded.live].stop


def test_no_run_starts_under_former_rules() -> None:
    cluster = FakeCluster(problem="spec.task: labels contains a label with leading or trailing white space")
    cluster.settle()
    assert cluster.status.run is None
    assert reason_of(cluster, "Validated") == ("False", "InvalidSpec")


@pytest.mark.parametrize(("stored", "frozen"), DEFAULTS.values(), ids=DEFAULTS)
def test_a_former_default_is_not_an_edit(stored: dict[str, Any], frozen: dict[str, Any]) -> None:
    live, run = (small_spec(**changes) for changes in (stored, frozen))
    assert spec_digest(live) != spec_digest(run)
    assert has_digest(live, spec_digest(run))
    assert not has_digest(small_spec(**stored, curation={"minKeepRatio": 0.5}), spec_digest(run))


def test_an_upgrade_reports_no_edit() -> None:
    cluster = FakeCluster(spec=small_spec(training={"epochs": 2}))
    begin(cluster, "Generate")
    cluster.spec = small_spec(training={"epochs": 2, "maxLength": 2048})
    cluster.settle()
    assert not is_true(cluster.status, "SpecDrift")
    cluster.spec = small_spec(training={"epochs": 3, "maxLength": 2048})
    cluster.settle()
    assert is_true(cluster.status, "SpecDrift")
