"""What the runtime says and leaves, read by the models of the contract that CLI, client and operator read it with."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from kubedistill.chain import CHAIN, ArtifactName
from kubedistill.client.local_status import apply_event, new_status
from kubedistill.contract import CONTRACT, StageProgress, StageResult
from kubedistill.contract.artifacts import Curve, Manifest, ServingFigures, TrainedFigures
from kubedistill.contract.events import Event, FinishedEvent, NoteEvent, ProgressEvent, StageEvent, read_event
from kubedistill.contract.summaries import FIGURES, SUMMARIES, EvaluateSummary, Headline
from kubedistill.report.models import Report
from kubedistill.stored import read_stored_json
from kubedistill.v1alpha1 import Status
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.decisions.results import make_result
from kubedistill_runtime.chat import ChatFormat
from support.job_folder import make_job_folder
from support.pipeline_runs import PipelineRun, small_run

pytestmark = pytest.mark.usefixtures("own_logs")


@pytest.fixture(scope="module")
def run(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> PipelineRun:
    """Return a whole job on the fake engine."""
    run = small_run(make_job_folder(tmp_path_factory.mktemp("messages")), chat)
    assert run.run() == 0
    return run


@pytest.fixture(scope="module")
def events(run: PipelineRun) -> list[Event]:
    """Return its events, as whoever started it reads them."""
    read = [read_event(json.dumps(values)) for values in run.events]
    return [event for event in read if event is not None]


def result_of(run: PipelineRun, stage: str) -> StageResult:
    return read_stored_json(StageResult, (run.folder / f"{stage.lower()}-1" / "result.json").read_bytes())


def manifest_of(run: PipelineRun, name: ArtifactName) -> bytes:
    folder = run.job_folder.store.path(f"artifacts/{name}/{run.job_folder.keys()[name]}")
    return (folder / "manifest.json").read_bytes()


def values_of(model: BaseModel) -> object:
    return json.loads(model.model_dump_json(by_alias=True))


def test_each_event_is_read_without_loss_and_says_its_version(run: PipelineRun, events: list[Event]) -> None:
    assert [event.to_values() for event in events] == run.events
    assert {event.contract for event in events} == {CONTRACT}
    assert {type(event) for event in events} <= {StageEvent, ProgressEvent, NoteEvent, FinishedEvent}
    assert isinstance(events[-1], FinishedEvent)


def test_the_client_makes_a_status_of_the_events(run: PipelineRun, events: list[Event]) -> None:
    status: Status = new_status(run.job_folder.stage_job().spec)
    for event in events:
        status = apply_event(status, event)
    assert status.phase == "Succeeded"
    assert [stage.state for stage in status.stages] == ["Succeeded"] * len(CHAIN)
    assert status.estimate is not None
    assert [one.name for one in status.estimate.stages] == ["Generate", "Train", "Evaluate"]


@pytest.mark.parametrize("stage", SUMMARIES)
def test_each_summary_is_read_without_loss(stage: str, run: PipelineRun) -> None:
    result = result_of(run, stage)
    assert result.summary.keys() == {field.alias for field in SUMMARIES[stage].model_fields.values()}
    assert result.read_summary(SUMMARIES[stage]).to_values() == result.summary


@pytest.mark.parametrize("name", FIGURES)
def test_each_manifest_is_read_without_loss(name: ArtifactName, run: PipelineRun) -> None:
    text = manifest_of(run, name)
    parts = [read_stored_json(Manifest, text).to_values(), read_stored_json(FIGURES[name], text).to_values()]
    assert {**parts[0], **parts[1]} == json.loads(text)
    assert parts[0]["name"] == name


STORED: dict[str, type[BaseModel]] = {
    "runs/*/local/report.json": Report,
    "runs/*/local/*-1/progress.json": StageProgress,
    "artifacts/report/*/report.json": Report,
    "artifacts/student/*/trained/curve.json": Curve,
    "artifacts/student/*/trained/summary.json": TrainedFigures,
    "rows/*/serving-*.json": ServingFigures,
}


@pytest.mark.parametrize("pattern", STORED)
def test_each_file_next_to_them_is_read_without_loss(pattern: str, run: PipelineRun) -> None:
    files: list[Path] = sorted(run.job_folder.store.root.glob(pattern))
    assert files
    for file in files:
        found = read_stored_json(STORED[pattern], file.read_bytes())
        written = json.loads(file.read_bytes())
        assert {name: value for name, value in values_of(found).items() if value is not None} == {
            name: value for name, value in written.items() if value is not None
        }


def test_the_operator_reads_the_headline_that_the_report_has(run: PipelineRun) -> None:
    text = result_of(run, "Evaluate").to_json()
    channel = read_channel({"data": {"owner": "a", "starts": "1", "result.json": text}})
    assert (channel.problem, channel.result is None) == ("", False)
    told_of = make_result(channel.result.read_summary(EvaluateSummary))
    report = read_stored_json(Report, (run.folder / "report.json").read_bytes())
    assert told_of.gate_passed == report.gate.passed
    assert told_of.distilled_accuracy == pytest.approx(report.arms.distilled.accuracy, abs=1e-6)


GARBAGE = {
    "a string": ({"gain": "0.1"}, None),
    "a truth value": ({"gain": True}, None),
    "a list": ({"gain": [0.1]}, None),
    "too large a number": ({"gain": 1e999}, None),
    "a number": ({"gain": 0.1234567}, 0.123457),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_a_figure_that_is_not_a_number_is_absent(case: str) -> None:
    values, expected = GARBAGE[case]
    assert make_result(Headline.model_validate(values)).gain == expected


@pytest.mark.parametrize("gate", [None, "passed", {}, {"passed": "true"}, {"passed": 1}, {"reasons": []}])
def test_what_is_not_a_verdict_passes_no_gate(gate: object) -> None:
    assert make_result(Headline.model_validate({"gate": gate})).gate_passed is None
