"""Speeds of earlier runs: what a run leaves, and how an estimate uses it instead of data sheets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract import Hardware
from kubedistill.contract.artifacts import TrainedFigures
from kubedistill.contract.estimates import StageEstimate
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.estimate.accelerators import CPU_CORE
from kubedistill_runtime.estimate.estimate import estimate
from kubedistill_runtime.estimate.measured import find_speeds, scale_generation, training_key
from kubedistill_runtime.estimate.speed import Engine
from kubedistill_runtime.fit.serving import Precision
from kubedistill_runtime.speeds import (
    GenerationSpeed,
    TrainingSpeed,
    read_speed,
    record_generation,
    record_training,
    serving_key,
)
from kubedistill_runtime.teachers.served import ServedTeacher
from support.job_folder import JobFolder, write_records
from support.large_models import model_of
from support.pipeline_runs import small_run
from support.stage_runner import StageRunner

SPEED = GenerationSpeed(answers=1024, prompt_tokens=80, answer_tokens=20, copies=1, seconds=30.0, hardware="a GPU")
ENGINE = Engine(model_of("Llama 3.2 3B"), Precision("BFloat16"), 1, CPU_CORE)
WITHIN = 1.25
"""Factor between the time of many answers and that of few, each in proportion to its number."""


def scaled(speed: GenerationSpeed, *, answers: int = 1024, copies: int = 1, answer_tokens: float = 20) -> float:
    return scale_generation(
        speed, ENGINE, answers=answers, prompt_tokens=80, answer_tokens=answer_tokens, copies=copies
    )


def test_the_same_workload_takes_as_long_as_it_did() -> None:
    assert scaled(SPEED) == pytest.approx(30.0)


@given(factor=st.integers(1, 1000))
def test_more_answers_take_more_time_in_proportion(factor: int) -> None:
    assert 1 / WITHIN < scaled(SPEED, answers=factor * 1024) / (factor * 30.0) < WITHIN


@given(copies=st.integers(1, 8), longer=st.integers(1, 50))
def test_copies_share_the_work_and_longer_answers_take_longer(copies: int, longer: int) -> None:
    assert scaled(SPEED, answers=64 * 1024, copies=copies) <= scaled(SPEED, answers=64 * 1024)
    assert scaled(SPEED, answer_tokens=20 + longer) > scaled(SPEED)


@pytest.fixture
def runner(job_folder: JobFolder, chat: ChatFormat) -> StageRunner:
    return small_run(job_folder, chat).runner


def stages(folder: JobFolder, **job: Any) -> tuple[dict[str, StageEstimate], list[str]]:
    found = estimate(folder.stage_job().model_copy(update=job), store=folder.store).estimate
    return {one.stage: one for one in found.stages}, [one for one in found.assumptions if "earlier run" in one]


def test_a_larger_job_is_estimated_by_what_a_smaller_one_took(
    runner: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, report: Any, **more: object) -> TrainedFigures:
        for step in (1, 31):
            report(step, 40, {})
        return TrainedFigures(steps=40, best_step=40, validation_loss=0.5)

    monkeypatch.setattr("kubedistill_runtime.stages.train.train_on_workers", train)
    folder = runner.job_folder
    assert stages(folder)[1] == []
    runner.run("Prepare", "Generate", "Curate", "Train")
    job, choices = folder.stage_job(), folder.resolve()
    speeds = find_speeds(job, choices, store=folder.store)
    assert speeds.training is not None
    assert (speeds.teachers["main"].answers, speeds.training.samples) == (56, 30 * 16)
    write_records(folder.root / "data" / "train.jsonl", [f"train asks {number}" for number in range(80)])
    more, assumed = stages(folder)
    assert [one.partition(" as fast")[0] for one in assumed] == ["teacher main answers", "the student learns"]
    assert 1 < ((more["Generate"].seconds or 0) - 15) / speeds.teachers["main"].seconds < 10, "15 s are the start"
    again = speeds.training.model_copy(update={"seconds": 1000 * speeds.training.seconds})
    record_training(folder.store, training_key(job, choices), again, steps=30)
    slower, _ = stages(folder)
    assert slower["Train"].seconds == pytest.approx(1000 * (more["Train"].seconds or 0))


def test_a_measured_speed_is_enough_where_the_device_is_not_known(runner: StageRunner) -> None:
    folder = runner.job_folder
    unknown = Hardware(accelerator="NVIDIA X", gpus_per_pod=1, memory_per_gpu=2**36, host_memory=2**40)
    folder.hardware["Generate"] = unknown
    assert stages(folder)[0]["Generate"].seconds is None
    teacher, choices = folder.resolve().teachers[0], folder.resolve()
    assert isinstance(teacher, ServedTeacher)
    record_generation(folder.store, serving_key(teacher.serving(k=choices.k)), SPEED)
    found, assumed = stages(folder)
    assert found["Generate"].seconds is not None
    assert assumed == ["teacher main answers as fast as in an earlier run on a GPU: 683 tokens/s"]


@pytest.mark.parametrize("text", ["{", "{}", SPEED.model_copy(update={"seconds": 0.0}).model_dump_json(by_alias=True)])
def test_a_speed_that_cannot_be_read_is_ignored(text: str, job_folder: JobFolder) -> None:
    job_folder.store.put("speeds/key.json", text.encode())
    assert read_speed(job_folder.store, "key", GenerationSpeed) is None


def test_a_few_answers_or_steps_are_not_kept(job_folder: JobFolder) -> None:
    store = job_folder.store
    training = TrainingSpeed(samples=16, sample_tokens=30, seconds=2.0, hardware="a GPU")
    record_generation(store, "key", SPEED)
    record_generation(store, "key", SPEED.model_copy(update={"answers": 31}))
    record_training(store, "other", training, steps=19)
    assert read_speed(store, "key", GenerationSpeed) == SPEED
    assert read_speed(store, "other", TrainingSpeed) is None
