"""Whatever a version stored is readable today, and what its drivers are told today is readable to them.

`python -m support.record_release COMMIT VERSION` adds a version, from tests/; whoever changes a stored form does so.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import StageResult
from kubedistill.contract.stored_status import with_both_names, with_new_names
from kubedistill.manifest.settings import Settings
from kubedistill.report.models import Report
from kubedistill.report.table import table_lines
from kubedistill.stored import read_stored_json
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.cluster.child_reading import check_frozen, read_child, read_frozen
from kubedistill_operator.cluster.status_writing import status_values
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.requests import make_request
from kubedistill_operator.decisions.run_snapshot import is_intact, load_snapshot
from kubedistill_operator.job import parse_job
from kubedistill_operator.names import child_name, frozen_name
from kubedistill_operator.observed import Observed
from kubedistill_runtime.channel import read_job
from support.cluster_setup import ROOT, read_manifests
from support.job_states import as_object, play
from support.old_code import unpack_operator
from support.stored_release import StoredJob, StoredRelease, releases
from support.tightened_rules import TIGHTENED, tightenings

JOBS = {f"{old.version} {name}": (old, job) for old in releases() for name, job in old.jobs.items()}
LIVE = ("Starting", "Running", "Stopping")
NOW = 4e9


@pytest.fixture(params=JOBS)
def stored(request: pytest.FixtureRequest) -> StoredJob:
    return JOBS[request.param][1]


@pytest.fixture(params=releases(), ids=lambda old: old.version)
def old(request: pytest.FixtureRequest) -> StoredRelease:
    release: StoredRelease = request.param
    return release


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_empty(one) for name, one in value.items() if one not in ("", [])}
    return [without_empty(one) for one in value] if isinstance(value, list) else value


def test_a_status_is_read_and_written_without_loss(stored: StoredJob) -> None:
    job = parse_job(stored.job)
    assert job.spec is not None, job.problem
    written, kept = status_values(job.status), without_empty(stored.status)
    expected = with_both_names(with_new_names(kept))
    assert {name: written.get(name) for name in expected} == expected
    assert expected["run"].items() >= kept["run"].items(), "a downgrade finds what it wrote"


def test_a_snapshot_is_found_and_read(stored: StoredJob) -> None:
    run = parse_job(stored.job).status.run
    assert run is not None
    texts = dict(stored.data("run.json"))
    name = frozen_name(stored.name, uid=stored.job["metadata"]["uid"], run=run.id)
    for config_map in stored.of("ConfigMap"):
        if config_map["metadata"]["name"] in texts:
            check_frozen(read_frozen(config_map))
    assert json.loads(texts[name])["digest"] == run.digest
    (found,) = [read_frozen(one) for one in stored.of("ConfigMap") if one["metadata"]["name"] == name]
    assert is_intact(found, run)


def test_a_stored_stage_job_is_read_by_todays_runtime(stored: StoredJob, tmp_path: Path) -> None:
    for child, text in stored.data("job.json"):
        (tmp_path / child).write_text(text)
        job = read_job(tmp_path / child)
        assert (job.job.name, job.attempt) == (stored.name, json.loads(text)["attempt"])


def test_logs_of_a_driver_are_read(stored: StoredJob) -> None:
    for config_map in stored.of("ConfigMap"):
        data = config_map["data"]
        if "owner" in data:
            channel = read_channel(config_map)
            assert channel.problem == ""
            assert [channel.progress is None, channel.result is None] == [
                name not in data for name in ("progress.json", "result.json")
            ]


def test_children_are_known_by_name_and_uid(stored: StoredJob) -> None:
    job = parse_job(stored.job)
    assert job.status.run is not None
    found = {one["metadata"]["name"]: read_child(one) for kind in ("Job", "RayJob") for one in stored.of(kind)}
    for stage in job.status.stages:
        if stage.attempt:
            name = child_name(job.name, stage.name, uid=job.uid, run=job.status.run.id, attempt=stage.attempt)
            assert stage.child == name
            assert stage.state not in LIVE or found[name].uid == stage.child_uid


def requests_of(old: StoredRelease) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a driver of each live attempt would be told if its child were made today."""
    for name, stored in old.jobs.items():
        job = parse_job(stored.job)
        found = [read_frozen(one) for one in stored.of("ConfigMap")]
        frozen = {one.run_id: one for one in found if "pools" in one.values}
        assert job.status.run is not None
        observed = Observed(frozen=frozen[job.status.run.id])
        assert observed.frozen is not None
        context = ReconcileContext(job, observed, NOW, Settings(), load_snapshot(observed.frozen, settings=Settings()))
        if context.current is not None and context.current.child:
            yield name, json.loads(make_request(context).stage_job.to_json())


def test_a_stage_job_of_today_is_valid_for_the_version_that_froze_its_run(old: StoredRelease) -> None:
    schema = jsonschema.Draft202012Validator(old.stage_job_schema)
    told = dict(requests_of(old))
    assert len(told) >= 4
    for name, values in told.items():
        assert [f"{list(one.path)}: {one.message}" for one in schema.iter_errors(values)] == [], name
        stored = old.jobs[name]
        run = json.loads(
            next(text for _, text in stored.data("run.json") if json.loads(text)["id"] == values["run"]["id"])
        )
        assert values["spec"] == run["spec"], f"{name}: no default of today's is among it"


def test_a_report_of_a_local_run_is_read(old: StoredRelease) -> None:
    (file,) = (old.folder / "store").rglob("report.json")
    report = read_stored_json(Report, file.read_bytes())
    assert [line.name for line in table_lines(report)][:3] == ["parameters", "memory", "time per answer"]
    assert json.loads(file.read_bytes())["gate"]["passed"] == report.gate.passed


def test_messages_of_a_local_run_are_read(old: StoredRelease) -> None:
    told, said = (sorted((old.folder / "store").rglob(name)) for name in ("job.json", "result.json"))
    assert len(told) == len(said) == len(CHAIN)
    for file, result in zip(told, said, strict=True):
        assert read_job(file).stage == json.loads(file.read_bytes())["stage"]
        assert read_stored_json(StageResult, result.read_bytes()).outcome == "Succeeded"


def test_every_rule_that_is_new_has_an_object_that_breaks_it(old: StoredRelease) -> None:
    """A row of tests/support/tightened_rules.py; tests/cluster/upgrade tries its object on a real API server."""
    (crd,) = read_manifests(ROOT / "crds" / "kubedistill.io_distillationjobs.yaml")
    assert tightenings(old.crd, crd) <= TIGHTENED.keys()


DECIDE = """
import json, sys
from kubedistill_operator.decisions.reconcile import Settings, reconcile
from kubedistill_operator.job import parse_job
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Plan
print(reconcile(parse_job(json.load(sys.stdin)), Observed(), now=1.8e9, settings=Settings()) == Plan())
"""


def test_p3_an_earlier_operator_leaves_a_job_alone_whose_phase_it_does_not_know(
    old: StoredRelease, tmp_path: Path
) -> None:
    """Only a job that is being deleted has it, and of such a job 0.1 reads no more than that."""
    held = as_object(play("p3 held by a finalizer"))
    assert held["status"]["phase"] == "Deleting"
    code = unpack_operator(old.operator, tmp_path / "old")
    assert code.python(DECIDE, text=json.dumps(held)) == "True\n"
