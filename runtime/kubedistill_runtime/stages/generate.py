"""Generate: the teacher answers every prompt, once, and is measured while it is warm."""

import time

from kubedistill.contract import StageJob
from kubedistill.errors import LowYield
from kubedistill_runtime.chat import load_stop_ids
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.resolution import Resolved, check_keys, resolve
from kubedistill_runtime.serving.engine import Engines, Serving
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.asking import Question, ask

_AT = "spec.teachers[0].model.source"


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the artifacts answers (train, as sampled) and judge (validation and test, greedy).

    Raises LowYield where too few answers came to their end.
    """
    started = time.monotonic()
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    questions = _questions(job, resolved, store=store)
    asking = ask(
        questions, serving=teacher_serving(job, resolved), at=_AT, engines=engines, store=store, progress=progress
    )
    least = job.spec.generation.min_success_ratio
    for name, asked in asking.asked.items():
        _check_success(asked.count_ended(store), of=len(asked.rows), least=least, split=name)
    splits = {name: describe_answers(part.rows, key=part.key, store=store) for name, part in asking.asked.items()}
    rows_key = resolved.keys["rows"]
    train = {name: part for name, part in splits.items() if name == "train"}
    judge = {name: part for name, part in splits.items() if name != "train"}
    publish(store, "answers", resolved.keys["answers"], {"rowsKey": rows_key, "splits": train})
    serving = asking.figures.to_values()
    publish(store, "judge", resolved.keys["judge"], {"rowsKey": rows_key, "splits": judge, "serving": serving})
    rows, generated = sum(len(part["rows"]) for part in splits.values()), asking.generated
    return Outcome(
        summary={
            "answers": rows, "generated": generated, "reused": rows - generated,
            "teacherTokens": asking.tokens, "seconds": round(time.monotonic() - started, 3),
        },
        message=f"{generated:,} answers, {rows - generated:,} reused",
    )  # fmt: skip


def teacher_serving(job: StageJob, resolved: Resolved) -> Serving:
    """How the teacher's engine is started."""
    model = job.spec.teachers[0].model
    return Serving(
        model=resolved.teacher, max_model_len=model.max_model_len, dtype=resolved.teacher_dtype, k=resolved.k,
        stop_ids=load_stop_ids(resolved.teacher), quantization=model.quantization,
        tensor_parallel_size=model.tensor_parallel_size, pipeline_parallel_size=model.pipeline_parallel_size,
    )  # fmt: skip


def _questions(job: StageJob, resolved: Resolved, *, store: Store) -> dict[str, Question]:
    """Train is asked as the manifest says; given answers need no teacher. The greedy splits come last."""
    key, generation = resolved.keys["rows"], job.spec.generation
    questions = {}
    if job.spec.data.train.answers == "Teacher":
        records = read_rows(store, key, "train")
        questions["train"] = Question(records, resolved.sampling, generation.samples_per_prompt, generation.seed)
    questions["validation"] = Question(read_rows(store, key, "validation"), resolved.judge_sampling)
    questions["test"] = Question(read_rows(store, key, "test"), resolved.judge_sampling)
    return questions


def _check_success(ended: int, *, of: int, least: float, split: str) -> None:
    if ended < least * of:
        raise LowYield(
            f"{ended} of {of} {split} answers came to their end, below minSuccessRatio {least:.0%}",
            at="spec.generation.minSuccessRatio",
            fix="Raise generation.maxTokens or maxModelLen, or look at the teacher's chat template",
        )
