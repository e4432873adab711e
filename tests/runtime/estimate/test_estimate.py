"""The estimate of the quickstart, with other teachers and hardware."""

from pathlib import Path
from typing import Any

import pytest

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import Hardware, Prices, StageJob
from kubedistill.contract.artifacts import SamplesFigures
from kubedistill.contract.estimates import Estimate, StageEstimate
from kubedistill.errors import ModelDoesNotFit
from kubedistill.report.estimates import estimate_line
from kubedistill_runtime.estimate.estimate import estimate
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.storage.artifacts import publish
from support.job_folder import QUICKSTART, JobFolder, write_records

TRAIN, VALIDATION, TEST, LABEL = 40, 10, 20, 8
H100 = Hardware(accelerator="NVIDIA H100", gpus_per_pod=1, memory_per_gpu=80 * 2**30, host_memory=2**40)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """Return a job of the quickstart's models on a few records."""
    made = JobFolder(tmp_path)
    for split, count in {"train": TRAIN, "validation": VALIDATION, "test": TEST}.items():
        write_records(tmp_path / f"{split}.jsonl", [f"{split} asks {number}" for number in range(count)])
        made.set(f"data.{split}", {"uri": f"{split}.jsonl"})
    made.set("teachers", [{"name": "main", "model": {"source": str(QUICKSTART / "teacher")}}])
    made.set("student.model.source", str(QUICKSTART / "student"))
    made.set("training.epochs", 3)
    return made


def estimate_of(folder: JobFolder, **job: Any) -> Estimate:
    stage_job: StageJob = folder.stage_job().model_copy(update=job)
    return estimate(stage_job, store=folder.store).estimate


def stage(found: Estimate, name: StageName) -> StageEstimate:
    return next(one for one in found.stages if one.stage == name)


def test_tokens_are_counted_by_hand(folder: JobFolder) -> None:
    found = estimate_of(folder)
    assert {one.stage: one.tokens for one in found.stages} == {
        "Generate": (TRAIN + VALIDATION + TEST) * LABEL,
        "Train": TRAIN * 3 * LABEL,
        "Evaluate": 2 * TEST * LABEL,
    }
    assert all(one.seconds and one.seconds > 0 and one.gpu_hours == 0 for one in found.stages)
    assert "answers are labels of 8 tokens" in found.assumptions


def test_samples_teachers_and_limits_count(folder: JobFolder) -> None:
    folder.set("generation.samplesPerPrompt", 3)
    folder.set("generation.temperature", 0.7)
    folder.set("evaluation.sampleLimit", 5)
    folder.set("training.maxSteps", 2)
    folder.set("training.globalBatchSize", 4)
    found = estimate_of(folder)
    assert stage(found, "Generate").tokens == (3 * TRAIN + VALIDATION + 5) * LABEL
    assert stage(found, "Train").tokens == 2 * 4 * LABEL
    assert stage(found, "Evaluate").tokens == 2 * 5 * LABEL


def test_given_answers_are_not_generated(folder: JobFolder) -> None:
    folder.set("data.train.answers", "Given")
    assert stage(estimate_of(folder), "Generate").tokens == (VALIDATION + TEST) * LABEL


def test_gpus_are_held_for_all_of_their_time_and_paid(folder: JobFolder) -> None:
    folder.hardware.update({"Generate": H100.model_copy(update={"pods": 2}), "Train": H100, "Evaluate": H100})
    found = estimate_of(folder, prices=Prices(teacher=3.0, student=2.0))
    generate, train = stage(found, "Generate"), stage(found, "Train")
    assert generate.seconds is not None
    assert generate.seconds > 120, "an engine has to start"
    assert generate.gpu_hours == pytest.approx(2 * generate.seconds / 3600)
    assert generate.dollars == pytest.approx(generate.gpu_hours * 3.0), "two copies on a GPU each"
    assert train.dollars == pytest.approx((train.gpu_hours or 0) * 2.0)


def test_what_nobody_knows_is_not_estimated(folder: JobFolder) -> None:
    folder.hardware["Generate"] = H100.model_copy(update={"accelerator": "NVIDIA X"})
    found = estimate_of(folder)
    generate = stage(found, "Generate")
    assert (generate.seconds, generate.gpu_hours, generate.dollars) == (None, None, None)
    assert any("NVIDIA X" in one for one in found.assumptions)
    assert any("dollars" in one for one in found.assumptions)


def test_an_endpoint_costs_its_tokens_and_takes_the_time_of_its_limit(folder: JobFolder) -> None:
    endpoint = {"model": "large", "requestsPerMinute": 7, "prices": {"input": 1.0, "output": 10.0}}
    folder.set("teachers", [{"name": "main", "endpoint": endpoint}])
    found = stage(estimate_of(folder), "Generate")
    answers = TRAIN + VALIDATION + TEST
    assert found.seconds == pytest.approx(answers / 7 * 60)
    assert found.dollars is not None
    output = answers * LABEL * 10.0 / 1e6
    assert output < found.dollars < 2 * output, "prompts of a few tokens at a tenth of the price"
    assert found.gpu_hours == 0


def test_what_the_store_has_is_reused(folder: JobFolder) -> None:
    keys = resolve(folder.stage_job(), store=folder.store).keys
    before = estimate_of(folder)
    names: tuple[ArtifactName, ...] = ("answers", "judge", "student", "report")
    for name in names[:-1]:
        publish(folder.store, name, keys[name], SamplesFigures(samples=1, overlong=0, without_logprobs=0))
    found = estimate_of(folder)
    assert [one.stage for one in found.stages if one.reused] == ["Generate", "Train"]
    assert found.disk_bytes == 0 < before.disk_bytes
    publish(folder.store, names[-1], keys[names[-1]], SamplesFigures(samples=1, overlong=0, without_logprobs=0))
    whole = estimate_of(folder)
    assert (whole.total.reused, estimate_line(whole)) == (True, "")


def test_a_job_that_does_not_fit_is_refused(folder: JobFolder) -> None:
    folder.hardware["Generate"] = Hardware(host_memory=2**20)
    with pytest.raises(ModelDoesNotFit):
        estimate_of(folder)
