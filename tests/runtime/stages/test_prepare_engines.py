"""Prepare and vLLM's own checks: started first, read last, and a refusal before anything is written."""

import sys
from functools import partial
from pathlib import Path

import pytest

from kubedistill.contract import Hardware
from kubedistill.errors import InvalidManifest, InvalidModel
from kubedistill_runtime.serving.vllm_check import VllmReply, check_engines
from kubedistill_runtime.storage.artifacts import find
from support.messages import CheckMessage
from support.stage_runner import StageRunner

GPUS = Hardware(accelerator="NVIDIA H200", gpus_per_pod=8)
CPUS = Hardware()


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Return the file in which the checks of these tests write their questions."""
    return tmp_path / "asked.jsonl"


def replies(monkeypatch: pytest.MonkeyPatch, asked: Path, *answers: VllmReply) -> None:
    """Let a process answer the questions in their order, and then end."""
    code = (
        "import sys\n"
        f"for answer in {[one.model_dump_json() for one in answers]!r}:\n"
        f"    open({str(asked)!r}, 'a').write(sys.stdin.readline())\n"
        "    print(answer, flush=True)\n"
    )
    fake = partial(check_engines, command=[sys.executable, "-c", code])
    monkeypatch.setattr("kubedistill_runtime.stages.prepare.check_engines", fake)


def test_engines_that_vllm_accepts_are_not_mentioned(
    runner: StageRunner, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.job_folder.hardware = {"Generate": GPUS, "Evaluate": GPUS}
    replies(monkeypatch, asked, VllmReply(), VllmReply())
    assert runner.run("Prepare").summary.notes == []
    assert len(asked.read_text().splitlines()) == 2


def test_a_refusal_comes_before_anything_is_written(
    runner: StageRunner, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.job_folder.hardware = {"Generate": GPUS, "Evaluate": CPUS}
    replies(monkeypatch, asked, VllmReply(refusal="Input should be 1", argument="tensor_parallel_size"))
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    assert refused.value.at == "spec.teachers[0].model.tensorParallelSize"
    assert not find(runner.job_folder.store, "rows", runner.job_folder.keys()["rows"]).complete


def test_the_students_engine_is_checked_too(runner: StageRunner, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.job_folder.hardware = {"Evaluate": GPUS}
    replies(monkeypatch, asked, VllmReply(refusal="no kernel for this head"))
    with pytest.raises(InvalidModel) as refused:
        runner.run("Prepare")
    assert refused.value.at == "spec.student.model.source"


def test_what_vllm_could_not_check_is_a_note(
    runner: StageRunner, asked: Path, monkeypatch: pytest.MonkeyPatch, check_message: CheckMessage
) -> None:
    runner.job_folder.hardware = {"Generate": GPUS}
    replies(monkeypatch, asked, VllmReply(failure="no module named x"))
    (note,) = runner.run("Prepare").summary.notes
    check_message(note, "no module named x")


def test_answers_that_exist_need_no_engine(runner: StageRunner, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.job_folder.hardware = {"Generate": GPUS}
    replies(monkeypatch, asked, VllmReply())
    runner.run("Prepare", "Generate")
    asked.unlink()
    runner.run("Prepare")
    assert not asked.exists()


def test_several_gpus_per_training_worker_are_refused(runner: StageRunner) -> None:
    runner.job_folder.set("student.resources.gpusPerWorker", 2)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    assert refused.value.at == "spec.student.resources.gpusPerWorker"


def test_fields_for_gpus_are_noted_on_cpus(runner: StageRunner) -> None:
    runner.job_folder.set("teachers.0.model.expertParallel", True)
    assert runner.run("Prepare").summary.notes == ["spec.teachers[0].model.expertParallel has no effect on CPUs"]
