"""Measured speeds: the seconds that a workload takes, from those of another workload in an earlier run."""

from collections.abc import Iterator
from dataclasses import dataclass

from kubedistill.canonical import digest
from kubedistill.contract import StageJob
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.estimate.speed import Engine, generation_seconds
from kubedistill_runtime.speeds import GenerationSpeed, TrainingSpeed, read_speed, serving_key
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.student_format import student_serving
from kubedistill_runtime.teachers.served import ServedTeacher


@dataclass(frozen=True, slots=True)
class Speeds:
    """What earlier runs have measured of the models of a job, on hardware of the same kind."""

    teachers: dict[str, GenerationSpeed]
    """Of each served teacher, by name, as far as known."""
    student: GenerationSpeed | None
    training: TrainingSpeed | None

    def describe(self) -> Iterator[str]:
        """Yield what is assumed of each, as a sentence without a period."""
        for name, speed in self.teachers.items():
            yield f"teacher {name} answers {_as_measured(speed)}"
        if self.student is not None:
            yield f"the student answers {_as_measured(self.student)}"
        if self.training is not None:
            yield f"the student learns {_as_measured(self.training)}"


def find_speeds(job: StageJob, choices: Choices, *, store: Store) -> Speeds:
    """Return the speeds that the store has for the models of a job."""
    teachers = dict[str, GenerationSpeed]()
    for teacher in choices.teachers:
        if isinstance(teacher, ServedTeacher):
            speed = read_speed(store, serving_key(teacher.serving(k=choices.k)), GenerationSpeed)
            teachers |= {teacher.name: speed} if speed is not None else {}
    return Speeds(
        teachers,
        student=read_speed(store, serving_key(student_serving(choices.student, choices=choices)), GenerationSpeed),
        training=read_speed(store, training_key(job, choices), TrainingSpeed),
    )


def training_key(job: StageJob, choices: Choices) -> str:
    """Return the key of the speed of training: its student, precision and objective, and its devices."""
    hardware = job.hardware_of("Train")
    return digest(
        {
            "student": choices.student.digest,
            "precision": choices.precision,
            "objective": choices.objective,
            "accelerator": hardware.accelerator,
            "devices": [job.spec.student.resources.workers, hardware.gpus_per_pod],
        }
    )


def scale_generation(
    speed: GenerationSpeed, engine: Engine, *, answers: int, prompt_tokens: float, answer_tokens: float, copies: int
) -> float:
    """Return the seconds in which copies of a model answer prompts, without their start.

    They are in the same proportion to the measured ones as those that follow from the data sheet, for both workloads.
    """
    before = generation_seconds(
        engine,
        answers=speed.answers,
        prompt_tokens=speed.prompt_tokens,
        answer_tokens=speed.answer_tokens,
        copies=speed.copies,
    )
    now = generation_seconds(
        engine, answers=answers, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens, copies=copies
    )
    return speed.seconds * now / before


def scale_training(speed: TrainingSpeed, *, tokens: float) -> float:
    """Return the seconds in which a student learns a number of tokens of samples."""
    return tokens / speed.rate


def _as_measured(speed: GenerationSpeed | TrainingSpeed) -> str:
    return f"as fast as in an earlier run on {speed.hardware}: {speed.rate:,.0f} tokens/s"
