"""What a person sees of a run: plain lines, or bars on a terminal, and the table at the end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill.cli.screen import show
from kubedistill.contract.events import Event, FailedEvent, FinishedEvent, NoteEvent, ReportFiles, read_event
from kubedistill.report.models import LatencyControl, Report
from kubedistill.v1alpha1 import DistillationJob


@pytest.fixture
def job(job_values: dict) -> DistillationJob:
    return DistillationJob.model_validate_json(json.dumps(job_values))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def finished(report: Report, tmp_path: Path) -> FinishedEvent:
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json(by_alias=True))
    files = ReportFiles(json_file=str(path), md=str(tmp_path / "report.md"), html="kept/report.html")
    return FinishedEvent(exit_code=0, report=files, exports=["kept/student"], seconds=61.4)


def said(**values: object) -> Event:
    """Return an event as the runtime writes it."""
    event = read_event(json.dumps(values))
    assert event is not None
    return event


def stage(name: str, state: str, **fields: object) -> Event:
    return said(event="stage", stage=name, state=state, **fields)


def progress(name: str, **fields: object) -> Event:
    return said(event="progress", stage=name, progress={"at": "", "state": "Working", **fields})


MESSAGES = {
    "Prepare": "1,300 records, CachedLogits: same ids", "Generate": "1,000 answers, 200 reused",
    "Curate": "1,100 of 1,200 answers kept", "Train": "1,380 steps, best at 1,311", "Evaluate": "gate passed",
    "Export": "Safetensors",
}  # fmt: skip
WHOLE_RUN = [
    event
    for name, message in MESSAGES.items()
    for event in (
        stage(name, "Running", attempt=1),
        progress(name, state="Loading", message="loading [/weights]"),
        progress(name, done=1, total=4, unit="steps", rate=2.0, etaSeconds=1.5, figures={"loss": 0.5}),
        progress(name, done=4, total=4, unit="steps"),
        stage(name, "Succeeded", attempt=1, message=message, seconds=2.5),
    )
]  # fmt: skip


def shown(events: list[Event], job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    code = show(iter(events), job=job)
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def test_first_line_names_job_and_models(job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = shown([], job, capsys)
    assert lines == ["support  Classification: teacher → student"]


@pytest.mark.parametrize("name", MESSAGES)
def test_stage_has_a_line_when_it_begins_and_one_when_it_ends(
    name: str, job: DistillationJob, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [stage(name, "Running"), stage(name, "Succeeded", message=MESSAGES[name], seconds=2.5)]
    _, lines, errors = shown(events, job, capsys)
    assert lines[1:] == [f"{name:<9} Running", f"{name:<9} Succeeded {MESSAGES[name]} (2.5 s)"]
    assert errors == ""


ESTIMATES = {
    "on GPUs": ({"seconds": 7_530, "gpuHours": 34.66, "dollars": 1156.2}, "2 h 5 min, 34.7 GPU hours, $1,156.20"),
    "on this machine": ({"seconds": 95.4, "gpuHours": 0}, "1 min 35 s"),
    "at an endpoint": ({"gpuHours": 0, "dollars": 0.5}, "time not known, $0.50"),
    "unknown": ({}, "not known"),
    "reused": ({"reused": True}, None),
}


@pytest.mark.parametrize("case", ESTIMATES)
def test_what_the_run_will_take_is_a_line_after_prepare(
    case: str, job: DistillationJob, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, text = ESTIMATES[case]
    stages = [{"stage": "Train", **figures}]
    summary = {"estimate": {"stages": stages, "diskBytes": 0, "downloadBytes": 0, "assumptions": []}}
    _, lines, _ = shown([stage("Prepare", "Succeeded", seconds=2.5, summary=summary)], job, capsys)
    assert lines[2:] == ([] if text is None else [f"Estimate: {text}"])


OTHER_LINES = {
    "skipped": (stage("Generate", "Skipped"), "Generate  Skipped   already exists"),
    "failed": (stage("Train", "Failed", seconds=1.0), "Train     Failed"),
    "a closed gate": (
        stage("Evaluate", "Succeeded", message="gate failed", seconds=1.0),
        "Evaluate  Succeeded gate failed (1.0 s)",
    ),
    "a note": (NoteEvent(message="pools are ignored [here]"), "pools are ignored [here]"),
    "a line break in a note": (NoteEvent(message="a\nTrain     Succeeded"), r"a\nTrain     Succeeded"),
    "loading": (progress("Train", state="Loading", message="loading [/w]"), "Train     loading [/w]"),
    "progress": (
        progress("Train", done=1000, total=4000, unit="steps", rate=1250.4, etaSeconds=2.4, figures={"loss": 0.12345}),
        "Train     1,000 of 4,000 steps, 1,250/s, 2 s left, loss 0.1235",
    ),
    "counts and times among the figures": (
        progress("Train", done=1, total=4, unit="steps", figures={"tokens": 120_000.0, "checkpointAt": 1.7e9}),
        "Train     1 of 4 steps, tokens 120,000",
    ),
    "progress without a rate": (progress("Curate", done=0, total=4, unit="answers"), "Curate    0 of 4 answers"),
}


@pytest.mark.parametrize("case", OTHER_LINES)
def test_event_is_a_line(case: str, job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> None:
    event, line = OTHER_LINES[case]
    assert shown([event], job, capsys)[1][1:] == [line]


def test_progress_is_a_line_every_ten_seconds(job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> None:
    events = [progress("Train", done=step, total=500, unit="steps") for step in range(500)]
    assert shown(events, job, capsys)[1][1:] == ["Train     0 of 500 steps"]


def test_failure_goes_to_standard_error(job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> None:
    failed = FailedEvent(reason="LowYield", message="a[/b] [red]: too few. Fix [it]", exit_code=2)
    code, lines, errors = shown([failed], job, capsys)
    assert (code, len(lines)) == (2, 1)
    assert errors == "LowYield: a[/b] [red]: too few. Fix [it]\n"


def test_run_without_a_last_word_is_failed(job: DistillationJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown([stage("Train", "Running")], job, capsys)[0] == 1


def test_table_and_headline_end_a_run(
    job: DistillationJob, finished: FinishedEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, errors = shown([finished], job, capsys)
    assert (code, errors) == (0, "")
    table = [" ".join(line.split()) for line in lines[2:-5]]
    assert table == [
        "teacher before distilled against teacher",
        "parameters 2.95M 295K 295K 90% less",
        "memory 30 MiB 3 MiB 3 MiB 90% less",
        "time per answer 120 ms 12 ms 12 ms 90% less",
        "accuracy 90.0% 40.0% 80.0% 89% kept",
        "answers per hour 120,000 1,200,000 1,200,000 10.0x",
        "cost per 1,000 answers $0.5000 $0.0500 $0.0500 90% less",
    ]
    assert lines[-5:] == [
        "",
        "Accuracy went from 40.0% to 80.0% (teacher 90.0%), 80% of the gap closed, p < 0.0001.",
        "Gate passed in 61 s.",
        "Student: kept/student",
        "Report: kept/report.html",
    ]


def test_closed_gate_says_every_reason(
    job: DistillationJob, report: Report, finished: FinishedEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = report.gate.model_copy(update={"passed": False, "reasons": ["gain 0.1 < [0.2]", "p too high"]})
    Path(finished.report.json_file).write_text(report.model_copy(update={"gate": gate}).model_dump_json(by_alias=True))
    code, lines, _ = shown([finished.model_copy(update={"exit_code": 3, "exports": []})], job, capsys)
    assert code == 3
    assert lines[-2] == "Gate failed: gain 0.1 < [0.2]; p too high"


@pytest.mark.parametrize(
    ("gate", "line"),
    [
        ({"limits": []}, "No gate was set. Done in 61 s."),
        ({"limits": ["minGain"]}, "Gate passed in 61 s: minGain."),
        (
            {"limits": ["maxLatencyRatio"], "notes": ["[it] is noise"]},
            "Gate passed in 61 s: maxLatencyRatio; [it] is noise.",
        ),
    ],
)
def test_a_gate_names_its_limits(
    gate: dict,
    line: str,
    job: DistillationJob,
    report: Report,
    finished: FinishedEvent,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = report.model_copy(update={"gate": report.gate.model_copy(update=gate)})
    Path(finished.report.json_file).write_text(changed.model_dump_json(by_alias=True))
    code, lines, _ = shown([finished], job, capsys)
    assert (code, lines[-3]) == (0, line)


def test_latency_that_is_noise_is_said(
    job: DistillationJob, report: Report, finished: FinishedEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    control = LatencyControl(rounds=5, output_tokens=32, ratio=1.62, spread=(1.4, 1.9), noise=True)
    changed = report.model_copy(update={"latency_control": control})
    Path(finished.report.json_file).write_text(changed.model_dump_json(by_alias=True))
    lines = shown([finished], job, capsys)[1]
    assert lines[-4].startswith("Latency is noise: the distilled student takes 1.62 times (1.40 to 1.90 in 5 rounds)")
    assert "time per answer 120 ms 12 ms 12 ms noise" in [" ".join(line.split()) for line in lines]


def test_names_with_brackets_stay_what_they_are(job_values: dict, capsys: pytest.CaptureFixture[str]) -> None:
    job_values["spec"]["teachers"][0]["model"]["source"] = "models/[/big]"
    job = DistillationJob.model_validate_json(json.dumps(job_values))
    assert shown([], job, capsys)[1] == ["support  Classification: models/[/big] → student"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make standard output a terminal of a kind."""

    def force(kind: str) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", kind)

    return force


@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
def test_bars_live_through_a_whole_run(
    kind: str,
    terminal: Callable[[str], None],
    job: DistillationJob,
    finished: FinishedEvent,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal(kind)
    code, lines, errors = shown([*WHOLE_RUN, finished], job, capsys)
    assert (code, errors) == (0, "")
    text = "\n".join(lines)
    assert all(message in text for message in MESSAGES.values())
    assert "✓" in text


def test_bars_show_what_went_wrong(
    terminal: Callable[[str], None], job: DistillationJob, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal("xterm")
    failed = FailedEvent(reason="EngineLost", message="gone [/]", exit_code=1)
    events = [stage("Prepare", "Skipped"), stage("Generate", "Running"), stage("Generate", "Failed"), failed]
    code, lines, errors = shown(events, job, capsys)
    assert code == 1
    assert "✗" in "\n".join(lines)
    assert "gone [/]" in errors
