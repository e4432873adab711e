"""The pipeline: a whole job in one process, on an engine that is a function; run again it does what is missing."""

import datetime
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import StageResult
from kubedistill.errors import BudgetSpent, LowYield, StoreBusy
from kubedistill.logs import SUBJECT
from kubedistill_runtime.__main__ import main
from kubedistill_runtime.channel import read_job
from kubedistill_runtime.chat import ChatFormat
from support.job_folder import QUICKSTART, JobFolder, make_job_folder
from support.messages import CheckMessage, check_facts
from support.pipeline_runs import PipelineRun, small_run

pytestmark = pytest.mark.usefixtures("own_logs")

NAMES = [stage.name for stage in CHAIN]


@pytest.fixture
def fresh(job_folder: JobFolder, chat: ChatFormat) -> PipelineRun:
    """Return a job that nobody has run."""
    return small_run(job_folder, chat)


@pytest.fixture(scope="module")
def first(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> PipelineRun:
    """Return a job after its first run."""
    harness = small_run(make_job_folder(tmp_path_factory.mktemp("first")), chat)
    assert harness.run() == 0
    return harness


@pytest.fixture
def done(first: PipelineRun, chat: ChatFormat, tmp_path: Path) -> PipelineRun:
    """Return the job after its first run, moved to a folder where it may be changed."""
    return small_run(JobFolder(shutil.copytree(first.job_folder.root, tmp_path / "moved")), chat)


def test_every_stage_runs_in_its_order_and_the_end_says_where_everything_is(first: PipelineRun) -> None:
    assert list(first.states().items()) == [(name, "Succeeded") for name in NAMES]
    last = first.events[-1]
    assert (last["event"], last["exitCode"]) == ("finished", 0)
    assert last["exports"] == [str(first.job_folder.root / "out")]
    assert last["report"] == {form: str(first.folder / f"report.{form}") for form in ("json", "md", "html")}
    assert all(Path(path).stat().st_size > 100 for path in last["report"].values())


def test_the_report_of_a_run_has_its_usage_and_is_kept_when_nothing_runs(first: PipelineRun, done: PipelineRun) -> None:
    texts = {form: (first.folder / f"report.{form}").read_text() for form in ("json", "md", "html")}
    usage = {one["stage"]: one for one in json.loads(texts["json"])["usage"]}
    assert list(usage) == NAMES[:-1]
    assert {name for name, one in usage.items() if one["estimated"]} == {"Generate", "Train", "Evaluate"}
    assert all(one["actual"]["seconds"] > 0 for one in usage.values())
    assert usage["Train"]["actual"]["tokens"] > 0
    assert not json.loads((first.runner.artifact("report") / "report.json").read_text())["usage"]
    assert done.run() == 0
    assert {form: (done.folder / f"report.{form}").read_text() for form in texts} == texts


def test_a_job_whose_validation_answers_are_all_cut_off_says_null_to_its_end(fresh: PipelineRun) -> None:
    fresh.job_folder.set("generation.minSuccessRatio", 0.0)
    fresh.runner.says = lambda text: "yes " * 40 if text.startswith("validation") else "yes"
    assert fresh.run() == 0
    (trained,) = (event for event in fresh.events if event.get("stage") == "Train" and "summary" in event)
    assert trained["summary"]["validationLoss"] is None
    report = json.loads((fresh.folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["training"]["validationLoss"] is None
    assert "not validated" in (fresh.folder / "report.html").read_text()


def test_every_attempt_leaves_its_job_its_result_a_summary_and_its_log(first: PipelineRun) -> None:
    for name in NAMES:
        folder = first.folder / f"{name.lower()}-1"
        told = read_job(folder / "job.json")
        assert told.stage == name
        result = StageResult.model_validate_json((folder / "result.json").read_text())
        assert result.outcome == "Succeeded"
        assert result.summary
        assert result.message
        lines = [json.loads(line) for line in (folder / "driver.log").read_text().splitlines()]
        assert (lines[0]["message"], lines[-1]["message"]) == ("stage started", "stage ended")
        subject = [told.job.namespace, told.job.name, told.job.uid, name, 1]
        assert all([line[key] for key in SUBJECT] == subject for line in lines)


def test_every_stage_says_in_words_what_came_of_it(first: PipelineRun) -> None:
    ended = [event for event in first.events if event["event"] == "stage" and event["state"] == "Succeeded"]
    expected = {
        "Prepare": r"[\d,]+ records, CachedLogits: .+",
        "Generate": r"56 answers, 0 reused",
        "Curate": r"\d+ of \d+ answers kept",
        "Train": r"[\d,]+ steps, best at [\d,]+",
        "Evaluate": "no gate set(; latency is noise)?",
        "Export": "Safetensors",
    }
    assert [event["stage"] for event in ended] == list(expected)
    assert [event["message"] for event in ended if not re.fullmatch(expected[event["stage"]], event["message"])] == []


def test_progress_is_said_and_its_last_word_is_never_left_out(first: PipelineRun) -> None:
    said = [event for event in first.events if event["event"] == "progress" and event["stage"] == "Generate"]
    assert (said[-1]["progress"]["done"], said[-1]["progress"]["total"]) == (56, 56)


def test_a_spent_budget_saves_and_stops_and_a_larger_one_continues(fresh: PipelineRun) -> None:
    def answer(_text: str) -> str:
        fresh.runner.engines.held = 2
        return "yes"

    fresh.runner.says = answer
    fresh.job_folder.set("budget", {"gpuHours": 1e-6})
    with pytest.raises(BudgetSpent) as spent:
        fresh.run()
    check_facts(spent.value, "spec.budget.gpuHours", "1e-06")
    assert spent.value.exit_code == 1
    assert fresh.states() == {"Prepare": "Succeeded", "Generate": "Failed"}
    fresh.job_folder.set("budget", {"gpuHours": 1000})
    assert fresh.run() == 0


def test_run_again_everything_is_skipped_but_the_door(done: PipelineRun) -> None:
    assert done.run() == 0
    assert done.states() == dict.fromkeys(NAMES, "Skipped") | {"Prepare": "Succeeded"}
    assert done.runner.engines.opened == 0
    assert done.events[-1]["exports"] == [str(done.job_folder.root / "out")]


EDITS: dict[str, tuple[Callable[[PipelineRun], Any], set[str]]] = {
    "training": (lambda harness: harness.job_folder.set("training.seed", 1), {"Train", "Evaluate", "Export"}),
    "evaluation": (lambda harness: harness.job_folder.set("evaluation.sampleLimit", 8), {"Evaluate"}),
    "export": (lambda harness: harness.job_folder.set("export.0.uri", "elsewhere"), {"Export"}),
    "workers of a pool": (lambda harness: harness.job_folder.set("student.resources.pool", "a100"), set()),
    "an export that was removed": (lambda harness: shutil.rmtree(harness.job_folder.root / "out"), {"Export"}),
    "a report that was removed": (lambda harness: shutil.rmtree(harness.runner.artifact("report")), {"Evaluate"}),
}


@pytest.mark.parametrize("what", EDITS)
def test_only_what_an_edit_reaches_is_done_again(what: str, done: PipelineRun) -> None:
    edit, expected = EDITS[what]
    edit(done)
    assert done.run() == 0
    assert {name for name, state in done.states().items() if state == "Succeeded"} == {"Prepare", *expected}
    assert (done.job_folder.root / done.job_folder.spec["export"][0]["uri"] / "model.safetensors").is_file()


def test_a_failed_gate_exits_with_3_before_export(done: PipelineRun) -> None:
    done.job_folder.set("evaluation.gate.minGain", 0.5)
    assert done.run() == 3
    assert done.states()["Evaluate"] == "Succeeded"
    assert "Export" not in done.states()
    assert (done.events[-1]["exitCode"], done.events[-1]["exports"]) == (3, [])
    assert (done.job_folder.root / "out").is_dir(), "what an earlier run exported is left alone"


def test_attempts_are_numbered_and_what_failed_is_said(fresh: PipelineRun) -> None:
    fresh.runner.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) % 2 else "yes"
    for attempt in (1, 2):
        with pytest.raises(LowYield):
            fresh.run()
        event = fresh.events[-1]
        assert (event["stage"], event["state"], event["attempt"]) == ("Curate", "Failed", attempt)
        check_facts(event["message"], "50.0%", "minKeepRatio")
    assert fresh.states()["Generate"] == "Skipped"
    folders = sorted(path.name for path in fresh.folder.glob("*-*"))
    assert folders == ["curate-1", "curate-2", "generate-1", "prepare-1"]
    results = [StageResult.model_validate_json((fresh.folder / one / "result.json").read_text()) for one in folders]
    assert [one.reason for one in results] == ["LowYield", "LowYield", "", ""]
    assert [read_job(fresh.folder / one / "job.json").attempt for one in folders] == [1, 2, 1, 1]


def test_a_run_id_has_a_folder_of_its_own_and_shares_the_artifacts(done: PipelineRun) -> None:
    done.job_folder.set("runID", "second")
    assert done.run() == 0
    assert [path.name for path in done.folder.with_name("second").glob("*-*")] == ["prepare-1"]
    assert (done.folder.with_name("second") / "report.html").is_file()


@pytest.mark.parametrize(
    ("path", "noted"),
    [("teachers.0.resources.pool", True), ("student.resources.pool", True), ("teachers.0.resources.replicas", False)],
)
def test_a_pool_is_noted_once_and_ignored(path: str, *, noted: bool, done: PipelineRun) -> None:
    done.job_folder.set(path, "h200" if noted else 2)
    done.run()
    notes = [event["message"] for event in done.events if event["event"] == "note"]
    assert notes == (["Pools are ignored, because everything runs on this machine."] if noted else [])


def test_what_a_killed_writer_left_is_swept(done: PipelineRun) -> None:
    left = done.job_folder.store.path(f"rows/.tmp-1-{uuid.uuid4().hex}")
    left.write_bytes(b"half a shard")
    os.utime(left, (0, 0))
    done.run()
    assert not left.exists()


@pytest.fixture
def locked(done: PipelineRun) -> Iterator[None]:
    """Another run of the same job holds its lock."""
    descriptor = os.open(done.folder.parent / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@pytest.mark.usefixtures("locked")
def test_a_second_run_of_the_same_job_is_refused(done: PipelineRun, check_message: CheckMessage) -> None:
    with pytest.raises(StoreBusy) as refused:
        done.run()
    check_message(refused.value)
    assert done.events == []


@pytest.mark.usefixtures("locked")
def test_a_second_run_ends_with_1(done: PipelineRun, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = done.job_folder.root / "job.yaml"
    manifest.write_text(done.manifest())
    code = main(["--manifest", str(manifest), "--store", str(done.job_folder.store.root)])
    event = json.loads(capsys.readouterr().out)
    assert (code, event["event"], event["reason"], event["exitCode"]) == (1, "failed", "StoreBusy", 1)


@pytest.mark.usefixtures("locked")
def test_another_job_in_the_same_store_is_not_in_the_way(done: PipelineRun) -> None:
    done.name = "other"
    assert done.run() == 0


def test_while_one_run_works_a_second_is_refused(fresh: PipelineRun, chat: ChatFormat) -> None:
    second, refused = small_run(JobFolder(fresh.job_folder.root), chat), []

    def say(text: str) -> str:
        if not refused:
            with pytest.raises(StoreBusy) as busy:
                second.run()
            refused.append(busy.value)
        return "maybe"

    fresh.runner.says = say
    with pytest.raises(LowYield):
        fresh.run()
    assert len(refused) == 1
    assert (second.events, second.runner.engines.opened) == ([], 0)


def test_after_a_failure_the_lock_is_free(fresh: PipelineRun) -> None:
    fresh.runner.says = lambda text: "maybe"
    for _ in range(2):
        with pytest.raises(LowYield):
            fresh.run()


def test_a_template_that_asks_for_the_date_is_told_that_of_the_first_run(fresh: PipelineRun, tmp_path: Path) -> None:
    """Another run on another day pays nobody again."""
    model = tmp_path / "dated"
    shutil.copytree(QUICKSTART / "student", model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["chat_template"] = settings["chat_template"].replace("{{ '<bos>' }}", "<bos>{{ strftime_now('%d %b') }}")
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    for path in ("teachers.0.model.source", "student.model.source"):
        fresh.job_folder.set(path, str(model))
    assert fresh.run() == 0
    engine = fresh.runner.engines.engine
    prompt = fresh.runner.chat.tokenizer.decode(list(engine.asked[0]))
    assert prompt.startswith("<bos>27 Nov<user>")
    fresh.today = datetime.date(2026, 11, 28)
    engine.batches.clear()
    assert fresh.run() == 0
    assert set(fresh.states().values()) == {"Succeeded", "Skipped"}
    assert not engine.batches
