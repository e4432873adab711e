"""The estimate of a job: tokens, time, GPU hours and dollars of each stage that serves or trains a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kubedistill.chain import STAGES, StageName
from kubedistill.contract import Hardware, StageJob
from kubedistill.contract.estimates import Estimate, StageEstimate, add_up
from kubedistill.contract.events import EstimateEvent
from kubedistill.v1alpha1 import Endpoint
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.checks.fit import check_fit
from kubedistill_runtime.checks.input import assemble, check_enough, read_split
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.data_files import data_sources
from kubedistill_runtime.estimate.accelerators import (
    CPU_CORE,
    DECODE_SHARE,
    PREFILL_SHARE,
    TRAINING_SHARE,
    find_accelerator,
)
from kubedistill_runtime.estimate.measured import Speeds, find_speeds, scale_generation, scale_training
from kubedistill_runtime.estimate.speed import Engine, generation_seconds, training_seconds
from kubedistill_runtime.estimate.workload import Workload, find_workload
from kubedistill_runtime.fit.serving import Precision
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import SPLITS, Record, Split
from kubedistill_runtime.speeds import GenerationSpeed, count_copies
from kubedistill_runtime.storage.artifacts import are_complete
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.served import ServedTeacher
from kubedistill_runtime.teachers.teacher import Teacher

_STAGES: tuple[StageName, ...] = ("Generate", "Train", "Evaluate")
_HOUR, _MINUTE = 3600, 60
_GPU_START, _CPU_START = 120.0, 15.0
"""Seconds in which an engine starts, without reading its weights."""
_READ_RATE = 1e9
"""Bytes of weights that are read per second."""
_BYTES_PER_ALTERNATIVE, _BYTES_PER_TOKEN = 6, 12
"""Of stored answers: an id and a log-probability; and an id, its log-probability and the rest of the mass."""
_STATE_BYTES = 16
"""Per parameter of a checkpoint of training."""
_PADDING = 1.15
"""Tokens of a batch relative to those of its samples, which are padded to one length."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What an estimate is made from."""

    job: StageJob
    choices: Choices
    workload: Workload
    speeds: Speeds
    made: frozenset[StageName]
    """Stages of which the store has all artifacts."""


def estimate(job: StageJob, *, store: Store) -> EstimateEvent:
    """Estimate what a job will take before it runs, and check it.

    Raises Prepare's errors for the manifest, the records and the models, and ModelDoesNotFit.
    """
    choices = resolve(job, store=store)
    check_fit(job, choices)
    data = assemble(job, {split: read_split(job, split) for split in data_sources(job.spec)})
    check_enough(job, data)
    return EstimateEvent(estimate=estimate_stages(job, choices, read=data.splits.__getitem__, store=store))


def estimate_stages(
    job: StageJob, choices: Choices, *, read: Callable[[Split], Sequence[Record]], store: Store
) -> Estimate:
    """Return what a job will take, from its records, its models' sizes and the data sheets of its hardware.

    Records and tokenizers are not read if the store has all artifacts already.
    """
    made = frozenset(stage for stage in _STAGES if are_complete(store, STAGES[stage].makes, keys=choices.keys))
    if made.issuperset(_STAGES):
        reused = [StageEstimate(stage=stage, reused=True) for stage in _STAGES]
        return Estimate(stages=reused, disk_bytes=0, download_bytes=0, assumptions=[])
    workload = find_workload({split: read(split) for split in SPLITS}, spec=job.spec, chat=_chat_of(choices))
    of = _Job(job, choices, workload, find_speeds(job, choices, store=store), made)
    stages = [_generate(of), _train(of), _evaluate(of)]
    return Estimate(
        stages=stages,
        disk_bytes=_disk_bytes(of),
        download_bytes=sum(_download_bytes(model) for model in _models(choices)),
        assumptions=[*workload.assumptions, *_assumptions(of, stages)],
    )


def _chat_of(choices: Choices) -> ChatFormat | None:
    """Return the chat format of the first teacher whose tokenizer is known."""
    known = (teacher for teacher in choices.teachers if teacher.tokenizer is not None)
    teacher = next(known, None)
    if teacher is None or teacher.tokenizer is None:
        return None
    return load_chat_format(teacher.tokenizer, at=teacher.at, date=choices.date)


def _generate(of: _Job) -> StageEstimate:
    if "Generate" in of.made:
        return StageEstimate(stage="Generate", reused=True)
    return add_up([_teacher(teacher, of=of) for teacher in of.choices.teachers])


def _teacher(teacher: Teacher, *, of: _Job) -> StageEstimate:
    """Return what one teacher takes; teachers answer one after another."""
    work, answers = of.workload, of.workload.asked.get(teacher.name, 0)
    tokens = round(answers * work.answer_tokens)
    if not isinstance(teacher, ServedTeacher):
        return _endpoint(of.job.spec.teachers[of.choices.teachers.index(teacher)].endpoint, tokens, answers, work)
    hardware = teacher.hardware
    copies = count_copies(hardware, gpus=teacher.spec.gpus)
    seconds = _answer_seconds(
        teacher.model,
        teacher.precision,
        work,
        answers=answers,
        hardware=hardware,
        devices=teacher.spec.gpus if hardware.has_gpus else 1,
        copies=copies,
        speed=of.speeds.teachers.get(teacher.name),
    )
    price = of.job.prices.of_teacher(teacher.name)
    return _held("Generate", tokens, seconds, hardware, price=None if price is None else price * copies)


def _endpoint(endpoint: Endpoint | None, tokens: int, answers: int, work: Workload) -> StageEstimate:
    """Return what an endpoint takes: dollars by its prices, and time only if its requests are limited."""
    assert endpoint is not None, "a teacher that is not served has an endpoint"
    limit, prices, dollars = endpoint.requests_per_minute, endpoint.prices, None
    if prices is not None:
        dollars = prices.dollars(prompt_tokens=answers * work.prompt_tokens, completion_tokens=tokens)
    seconds = answers / limit * _MINUTE if limit else None
    return StageEstimate(stage="Generate", tokens=tokens, seconds=seconds, gpu_hours=0.0, dollars=dollars)


def _train(of: _Job) -> StageEstimate:
    if "Train" in of.made:
        return StageEstimate(stage="Train", reused=True)
    training, work = of.job.spec.training, of.workload
    hardware, workers = of.job.hardware_of("Train"), of.job.spec.student.resources.workers
    per_sample = min(of.choices.max_length, work.prompt_tokens + work.answer_tokens)
    samples = work.train * training.epochs
    if training.max_steps is not None:
        samples = min(samples, training.max_steps * training.global_batch_size)
    accelerator, seconds = find_accelerator(hardware), None
    if of.speeds.training is not None:
        seconds = scale_training(of.speeds.training, tokens=samples * per_sample)
    elif accelerator is not None:
        padded = samples * per_sample * _PADDING
        seconds = training_seconds(of.choices.student, tokens=padded, workers=workers, accelerator=accelerator)
    return _held("Train", round(samples * work.answer_tokens), seconds, hardware, price=of.job.hourly_price("Train"))


def _evaluate(of: _Job) -> StageEstimate:
    if "Evaluate" in of.made:
        return StageEstimate(stage="Evaluate", reused=True)
    work, student, hardware = of.workload, of.choices.student, of.choices.student_hardware
    seconds = _answer_seconds(  # both students answer in one engine
        student,
        Precision(of.choices.student_dtype),
        work,
        answers=2 * work.tested,
        hardware=hardware,
        speed=of.speeds.student,
    )
    tokens = round(2 * work.tested * work.answer_tokens)
    return _held("Evaluate", tokens, seconds, hardware, price=of.job.hourly_price("Evaluate"))


def _answer_seconds(
    model: Model,
    precision: Precision,
    work: Workload,
    *,
    answers: int,
    hardware: Hardware,
    speed: GenerationSpeed | None,
    devices: int = 1,
    copies: int = 1,
) -> float | None:
    """Return the seconds in which copies of a model start and answer, each on some devices; None if not known."""
    accelerator = find_accelerator(hardware)
    generate = generation_seconds
    if speed is not None:  # of an unknown device, the proportions of its operations and bandwidth are enough
        generate, accelerator = partial(scale_generation, speed), accelerator or CPU_CORE
    if accelerator is None:
        return None
    return _start_seconds(model, hardware) + generate(
        Engine(model, precision, devices, accelerator),
        answers=answers,
        prompt_tokens=work.prompt_tokens,
        answer_tokens=work.answer_tokens,
        copies=copies,
    )


def _held(
    stage: StageName, tokens: int, seconds: float | None, hardware: Hardware, *, price: float | None
) -> StageEstimate:
    """Return a stage that holds its hardware all the time, at a price per hour."""
    hours = None if seconds is None else seconds / _HOUR
    return StageEstimate(
        stage=stage,
        tokens=tokens,
        seconds=seconds,
        gpu_hours=None if hours is None else hours * hardware.gpus,
        dollars=None if hours is None or price is None else hours * price,
    )


def _start_seconds(model: Model, hardware: Hardware) -> float:
    start = _GPU_START if hardware.has_gpus else _CPU_START
    return start + model.weights.size("BFloat16") / _READ_RATE


def _models(choices: Choices) -> list[Model]:
    served = [teacher.model for teacher in choices.teachers if isinstance(teacher, ServedTeacher)]
    return [*served, choices.student]


def _download_bytes(model: Model) -> int:
    return sum(model.hub.files.values()) if model.hub is not None else 0


def _disk_bytes(of: _Job) -> int:
    """Return the bytes that are written: answers and samples, checkpoints, the trained student and its export."""
    student, written = of.choices.student, 0
    if "Generate" not in of.made:
        tokens = sum(of.workload.asked.values()) * of.workload.answer_tokens
        written += int(2 * tokens * (_BYTES_PER_TOKEN + of.choices.k * _BYTES_PER_ALTERNATIVE))
    if "Train" not in of.made:
        written += student.parameters * _STATE_BYTES * of.job.spec.training.checkpoint.keep_last
        written += 2 * student.weights.size("BFloat16")
    return written


def _assumptions(of: _Job, stages: list[StageEstimate]) -> list[str]:
    notes = ["waiting for nodes, downloads, images, Prepare, Curate and Export take no time here"]
    notes += of.speeds.describe()
    if any(one.has_gpus for one in of.job.hardware.values()):
        notes += [
            f"GPUs reach {PREFILL_SHARE:.0%} of their operations in prompts, {DECODE_SHARE:.0%} of their bandwidth in "
            f"answers and {TRAINING_SHARE:.0%} of their operations in training, relative to their data sheets",
            f"an engine starts in {_GPU_START:.0f} s on GPUs and reads its weights at {_READ_RATE / 1e9:.0f} GB/s",
        ]
    else:
        notes.append("engines and training are as fast as one core of a processor with AVX-512")
    untimed = [of.job.hardware_of(one.stage) for one in stages if one.seconds is None and not one.reused]
    unknown = {one.accelerator for one in untimed if find_accelerator(one) is None}
    notes += [f"the speed of {name} is not known, so its time is not estimated" for name in sorted(unknown)]
    if any(one.dollars is None and not one.reused for one in stages):
        notes.append("dollars are not known without prices of the pools or of the endpoint")
    return notes
