"""Whether the models fit into the memory of the hardware that serves and trains them."""

from collections.abc import Callable, Iterator

from kubedistill.contract import Hardware, StageJob
from kubedistill.errors import ModelDoesNotFit
from kubedistill.report.table import short_bytes
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.fit.serving import Precision, ServingMemory, Split, serving_memory, shares_heads, usable_bytes
from kubedistill_runtime.fit.training import TrainingMemory, training_memory
from kubedistill_runtime.student_format import student_context
from kubedistill_runtime.teachers.served import ServedTeacher

_GPUS_OF_A_NODE = 8
_MOST_GROUPS = 64
_STUDENT_AT = "spec.student.model"
_STEP = 256
"""Tokens by which a length is lowered until it fits."""


def check_fit(job: StageJob, choices: Choices) -> None:
    """Check teachers and student against the hardware of their stages; sizes that are unknown are not checked.

    Raises ModelDoesNotFit with the field, the sizes, and the smallest change that fits.
    """
    for teacher in choices.teachers:
        if isinstance(teacher, ServedTeacher):
            _check_teacher(teacher)
    _check_training(job, choices)
    _check_student_engine(choices)


def _check_teacher(teacher: ServedTeacher) -> None:
    spec, at = teacher.spec, f"{teacher.at}.model"

    def memory(tokens: int, split: Split) -> ServingMemory:
        return serving_memory(
            teacher.model,
            precision=teacher.precision,
            tokens=tokens,
            split=split,
            hardware=teacher.hardware,
            arguments=spec.engine_arguments,
        )

    split = Split(spec.tensor_parallel_size, spec.pipeline_parallel_size)
    needs = memory(teacher.max_model_len, split)
    usable = usable_bytes(teacher.hardware, utilization=spec.gpu_memory_utilization)
    if usable is None or needs.total <= usable:
        return
    length = _shorten(lambda tokens: memory(tokens, split).total, teacher.max_model_len, usable=usable)
    splits = (one for one in _wider(split) if shares_heads(teacher.model, tensor=one.tensor))
    wider = next((one for one in splits if memory(teacher.max_model_len, one).total <= usable), None)
    if length:
        fix = f"Set maxModelLen: {length}"
    elif wider is None:  # without GPUs nothing is split
        fix = f"Use a smaller model, or hardware that leaves an engine {short_bytes(needs.total)}"
    elif wider.tensor > split.tensor:
        fix = f"Set tensorParallelSize: {wider.tensor}"
    else:
        fix = f"Set pipelineParallelSize: {wider.pipeline}"
    raise ModelDoesNotFit(_serving_problem(needs, hardware=teacher.hardware, usable=usable), at=at, fix=fix)


def _check_student_engine(choices: Choices) -> None:
    hardware = choices.student_hardware
    needs = serving_memory(
        choices.student,
        precision=Precision(choices.student_dtype),
        tokens=student_context(choices),
        split=Split(),
        hardware=hardware,
    )
    usable = usable_bytes(hardware)
    if usable is not None and needs.total > usable:
        problem = f"to be evaluated, {_serving_problem(needs, hardware=hardware, usable=usable)}"
        raise ModelDoesNotFit(problem, at=_STUDENT_AT, fix="Name a pool with more memory, or use a smaller student")


def _check_training(job: StageJob, choices: Choices) -> None:
    hardware, spec = job.hardware_of("Train"), job.spec
    workers = spec.student.resources.workers

    def memory(max_length: int) -> TrainingMemory:
        return training_memory(
            choices.student,
            max_length=max_length,
            workers=workers,
            half=choices.precision == "BF16",
            on_gpu=hardware.has_gpus,
            keep_best=spec.training.validation.keep_best,
        )

    needs = memory(choices.max_length)
    together = max(1, workers // hardware.pods)  # on one machine, all workers share its memory
    if not hardware.has_gpus:
        _check_worker(needs, (needs.device + needs.host) * together, of=hardware.host_memory, where="of memory")
        return
    shorter = _shorten(lambda length: memory(length).device, choices.max_length, usable=hardware.memory_per_gpu or 0)
    _check_worker(needs, needs.device, of=hardware.memory_per_gpu, where="on each GPU", shorter=shorter)
    _check_worker(needs, needs.host * together, of=hardware.host_memory, where="in the memory of its pod")


def _check_worker(parts: TrainingMemory, need: int, *, of: int | None, where: str, shorter: int = 0) -> None:
    """Raise ModelDoesNotFit if a worker needs more than there is; `shorter` is the length of samples that would fit."""
    if of is None or need <= of:
        return
    fix = f"Set training.maxLength: {shorter}" if shorter else ""
    raise ModelDoesNotFit(
        f"to be trained, it needs {short_bytes(need)} {where} (weights and optimizer {short_bytes(parts.states)}, "
        f"activations of one sample {short_bytes(parts.activations)}), but there are {short_bytes(of)}",
        at=_STUDENT_AT,
        fix=fix or f"Name a pool with {short_bytes(need)}, or use a smaller student",
    )


def _serving_problem(needs: ServingMemory, *, hardware: Hardware, usable: int) -> str:
    where = "on each GPU" if hardware.has_gpus else "of memory"
    return (
        f"it needs {short_bytes(needs.total)} {where} (weights {short_bytes(needs.weights)}, cache of one request "
        f"{short_bytes(needs.cache)}, working memory {short_bytes(needs.working)}), but there are {short_bytes(usable)}"
    )


def _shorten(need: Callable[[int], int], length: int, *, usable: int) -> int:
    """Return the longest length that fits, in steps; 0 if none does."""
    return next((tokens for tokens in range(length - length % _STEP, 0, -_STEP) if need(tokens) <= usable), 0)


def _wider(split: Split) -> Iterator[Split]:
    """Yield splits over more GPUs: first of one node, since tensor parallelism needs fast links, then of several."""
    tensor, pipeline = split.tensor, split.pipeline
    while (tensor := tensor * 2) <= _GPUS_OF_A_NODE:
        yield Split(tensor, pipeline)
    while (pipeline := pipeline * 2) <= _MOST_GROUPS:
        yield Split(split.tensor, pipeline)
