"""What a run took next to what it was estimated to take: from the records of its attempts, and in the report."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import ArtifactRef, Hardware, Prices, RunRef, StageJob, StageResult
from kubedistill.contract.estimates import Estimate, StageEstimate
from kubedistill.report.models import Report
from kubedistill.report.usage import StageUsage, Usage
from kubedistill_runtime.report.markdown import render_markdown
from kubedistill_runtime.report.page import render_page
from kubedistill_runtime.report.usage import AttemptUsage, read_usage, record_estimate
from support import sample_reports as made
from support.job_folder import JobFolder

KEYS: dict[ArtifactName, str] = {"rows": "r", "answers": "a", "judge": "j", "student": "s", "report": "p"}
H100 = Hardware(accelerator="NVIDIA H100", gpus_per_pod=1, pods=2)
STARTED = datetime(2026, 11, 28, tzinfo=UTC)
NOW = AttemptUsage(seconds=30.0, gpu_seconds=20.0)


@pytest.fixture
def job(job_folder: JobFolder) -> StageJob:
    job_folder.hardware.update({"Generate": H100, "Train": H100, "Evaluate": H100.model_copy(update={"pods": 1})})
    job_folder.prices = Prices(teacher=4.0, student=3.0)
    return job_folder.stage_job("Evaluate", keys=KEYS)


@pytest.fixture
def report() -> Report:
    return made.make_report(provenance__artifacts=KEYS)


def attempt(folder: JobFolder, stage: StageName, number: int, *, seconds: float | None, **result: Any) -> None:
    """Leave the record of an attempt; without seconds, of one whose driver was killed."""
    place = f"runs/default.job/local/{stage.lower()}-{number}"
    folder.store.put(f"{place}/driver.log", b"")
    if seconds is not None:
        ended = StageResult(
            driver="d",
            started_at=STARTED.isoformat(),
            ended_at=(STARTED + timedelta(seconds=seconds)).isoformat(),
            **{"outcome": "Succeeded", "summary": {"teacherTokens": 50}, **result},
        )
        folder.store.put(f"{place}/result.json", ended.to_json().encode())


def usage_of(job: StageJob, report: Report, folder: JobFolder, *, current: AttemptUsage | None = NOW) -> Any:
    return {one.stage: one for one in read_usage(job, report, store=folder.store, current=current)}


def test_all_attempts_of_the_run_count(job: StageJob, report: Report, job_folder: JobFolder) -> None:
    attempt(job_folder, "Generate", 1, seconds=60, gpu_seconds=100, outcome="Stopped", summary={})
    attempt(job_folder, "Generate", 2, seconds=None)
    attempt(job_folder, "Generate", 10, seconds=120, gpu_seconds=3500, idle_gpu_seconds=900)
    found = usage_of(job, report, job_folder)
    generate = found["Generate"].actual
    expected = Usage(seconds=180, gpu_hours=1.0, idle_gpu_hours=0.25, dollars=4.0, tokens=50, lost=1)
    assert generate == expected, "an H100 costs 4 an hour"
    assert found["Evaluate"].actual == Usage(seconds=30, gpu_hours=20 / 3600, dollars=3 * 20 / 3600)
    assert [one for one in found if not found[one].is_over] == ["Evaluate"]
    assert [one for one in found if found[one].actual is None] == ["Prepare", "Curate", "Train"]


@pytest.mark.parametrize(("prices", "dollars"), [({"input": 1.0, "output": 2.0}, 0.75), (None, None)])
def test_an_endpoint_costs_what_it_charged(prices: Any, dollars: float | None, job_folder: JobFolder) -> None:
    job_folder.set("teachers", [{"name": "main", "endpoint": {"model": "large", "prices": prices}}])
    attempt(job_folder, "Generate", 1, seconds=60, dollars=0.25, outcome="Stopped", summary={})
    attempt(job_folder, "Generate", 2, seconds=60, dollars=0.5)
    job, report = job_folder.stage_job("Evaluate", keys=KEYS), made.make_report(provenance__artifacts=KEYS)
    assert usage_of(job, report, job_folder)["Generate"].actual.dollars == dollars


def test_attempts_for_other_artifacts_or_another_spec_do_not_count(
    job: StageJob, report: Report, job_folder: JobFolder
) -> None:
    other = ArtifactRef(key="of other data", uri="", complete=True)
    attempt(job_folder, "Train", 1, seconds=500, artifacts={"student": other})
    attempt(job_folder, "Train", 2, seconds=500)
    spec = job.model_copy(update={"run": RunRef(id="local", digest="of another spec")})
    job_folder.store.put("runs/default.job/local/train-2/job.json", spec.to_json().encode())
    attempt(job_folder, "Train", 3, seconds=40, artifacts={"student": other.model_copy(update={"key": "s"})})
    job_folder.store.put("runs/default.job/local/train-3/job.json", job.to_json().encode())
    assert usage_of(job, report, job_folder)["Train"].actual.seconds == 40


def test_what_existed_is_reused_and_without_any_work_there_is_no_table(
    job: StageJob, report: Report, job_folder: JobFolder
) -> None:
    attempt(job_folder, "Prepare", 1, seconds=5)
    attempt(job_folder, "Generate", 1, seconds=1, summary={})
    assert usage_of(job, report, job_folder)["Generate"].actual is None
    assert usage_of(job, report, job_folder, current=None) == {}


def test_tokens_of_evaluation_are_those_of_the_students_in_all_attempts(job: StageJob, job_folder: JobFolder) -> None:
    attempt(job_folder, "Evaluate", 1, seconds=5, outcome="Stopped", summary={"studentTokens": 40})
    now = AttemptUsage(seconds=30, gpu_seconds=20, tokens=60)
    report = made.make_report(provenance__artifacts=KEYS)
    again = job.model_copy(update={"attempt": 2})
    assert usage_of(again, report, job_folder, current=now)["Evaluate"].actual.tokens == 100


def test_tokens_of_training_are_those_of_its_curve(job: StageJob, job_folder: JobFolder) -> None:
    attempt(job_folder, "Train", 1, seconds=5)
    steps = [{"step": step, "loss": 1.0, "tokens": 100 * step} for step in (1, 2)]
    report = made.make_report(provenance__artifacts=KEYS, training__curve__train=steps)
    assert usage_of(job, report, job_folder)["Train"].actual.tokens == 300


def estimate(**seconds: float | None) -> Estimate:
    """Return an estimate of stages by name; None for one that is reused."""
    stages = [StageEstimate(stage=name, seconds=one, reused=one is None) for name, one in seconds.items()]  # type: ignore[arg-type]
    return Estimate(stages=stages, disk_bytes=0, download_bytes=0, assumptions=[])


def test_a_stage_that_the_run_has_made_keeps_the_estimate_from_before(
    job: StageJob, report: Report, job_folder: JobFolder
) -> None:
    store = job_folder.store
    record_estimate(job, estimate(Generate=10, Train=20, Evaluate=30), keys=KEYS, store=store)
    record_estimate(job, estimate(Generate=None, Train=25, Evaluate=30), keys=KEYS, store=store)
    found = usage_of(job, report, job_folder)
    assert [found[name].estimated.seconds for name in ("Generate", "Train", "Evaluate")] == [10, 25, 30]
    record_estimate(job, estimate(Generate=None, Train=25, Evaluate=30), keys={**KEYS, "answers": "b"}, store=store)
    assert usage_of(job, report, job_folder)["Generate"].estimated.reused, "other answers, which another run has made"


def test_an_estimate_that_cannot_be_read_is_absent(job: StageJob, report: Report, job_folder: JobFolder) -> None:
    job_folder.store.put("runs/default.job/local/estimate.json", b"{")
    assert usage_of(job, report, job_folder)["Evaluate"].estimated is None


SHOWN = [
    StageUsage(stage="Prepare", actual=Usage(seconds=4, gpu_hours=0)),
    StageUsage(
        stage="Generate",
        estimated=StageEstimate(stage="Generate", tokens=12_800, seconds=3600, gpu_hours=2.0, dollars=8.0),
        actual=Usage(seconds=7505, gpu_hours=4.17, idle_gpu_hours=0.5, dollars=16.68, tokens=9_312, lost=2),
    ),
    StageUsage(stage="Train", estimated=StageEstimate(stage="Train", reused=True)),
    StageUsage(stage="Evaluate", actual=Usage(seconds=61, gpu_hours=0.02), is_over=False),
]


def test_the_report_has_a_table_with_estimates_in_parentheses() -> None:
    report = made.make_report().model_copy(update={"usage": SHOWN})
    lines = render_markdown(report, title="j").splitlines()
    place = lines.index("| stage | time | GPU hours | idle GPU hours | dollars | tokens |")
    assert lines[place + 2 :] == [
        "| Prepare | 4 s | 0.0 | 0.0 | - | - |",
        "| Generate | 2 h 5 min (1 h 0 min) | 4.2 (2.0) | 0.5 | $16.68 ($8.00) | 9,312 (12,800) |",
        "| Train | reused |  |  |  |  |",
        "| Evaluate | 1 min 1 s | 0.0 | 0.0 | - | - |",
        "",
        "- Usage: the time of Evaluate is that until this report was written",
        "- Usage: attempts at Generate that left no result and do not count: 2",
    ]
    page = render_page(report, title="j")
    assert "<td>2 h 5 min (1 h 0 min)</td><td>4.2 (2.0)</td>" in page
    assert "The time of Evaluate is that until this report was written." in page
    assert "What it took" not in render_page(made.make_report(), title="j")
