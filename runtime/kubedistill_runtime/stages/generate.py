"""Generate: the teacher answers every prompt, once, and is measured while it is warm."""

import time
from collections.abc import Mapping

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import AnswersFigures, AnswerSplit, JudgeFigures
from kubedistill.contract.summaries import GenerateSummary
from kubedistill_runtime.chat import date_for, load_stop_ids
from kubedistill_runtime.checks.yields import check_success
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.keys import check_keys, resolve
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.serving.engine import Engines, Serving
from kubedistill_runtime.serving.figures import Machine
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.generate import Request, generate_answers

_AT = "spec.teachers[0].model.source"


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the artifacts answers (train, as sampled) and judge (validation and test, greedy).

    Raises LowYield where too few answers came to their end.
    """
    started = time.monotonic()
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    requests = _requests(job, resolved, store=store)
    serving = teacher_serving(job, resolved)
    machine = Machine(engines.hardware(gpus=serving.gpus), job.pools.teacher)
    result = generate_answers(
        requests, serving=serving, at=_AT, engines=engines, store=store, progress=progress, machine=machine
    )
    splits = {}
    for name, part in result.pending.items():
        ended = part.count_ended(store)
        check_success(len(part.rows), ended, split=name, spec=job.spec)
        splits[name] = describe_answers(part.rows, key=part.key, ended=ended, store=store)
    rows_key = resolved.keys["rows"]
    train = {name: part for name, part in splits.items() if name == "train"}
    judge = {name: part for name, part in splits.items() if name != "train"}
    answers = AnswersFigures(rows_key=rows_key, splits=train)
    publish(store, "answers", resolved.keys["answers"], answers, files=_shards(train))
    judged = JudgeFigures(rows_key=rows_key, splits=judge, serving=result.figures)
    publish(store, "judge", resolved.keys["judge"], judged, files=_shards(judge))
    rows, generated = sum(len(part.rows) for part in splits.values()), result.generated
    return Outcome(
        summary=GenerateSummary(
            answers=rows,
            generated=generated,
            reused=rows - generated,
            teacher_tokens=result.tokens,
            seconds=round(time.monotonic() - started, 3),
        ),
        message=f"{generated:,} answers, {rows - generated:,} reused",
    )


def _shards(splits: Mapping[str, AnswerSplit]) -> list[str]:
    """The shards that hold the answers of some splits."""
    return list(dict.fromkeys(shard for part in splits.values() for shard in part.shards))


def teacher_serving(job: StageJob, resolved: Choices) -> Serving:
    """How the teacher's engine is started."""
    model = job.spec.teachers[0].model
    return Serving(
        model=resolved.teacher,
        max_model_len=resolved.max_model_len,
        dtype=resolved.teacher_dtype,
        k=resolved.k,
        stop_ids=load_stop_ids(resolved.teacher),
        quantization=model.quantization,
        date=date_for(resolved.teacher, resolved.date),
        tensor_parallel_size=model.tensor_parallel_size,
        pipeline_parallel_size=model.pipeline_parallel_size,
        at=_AT,
    )


def _requests(job: StageJob, resolved: Choices, *, store: Store) -> dict[str, Request]:
    """Return what to generate: train as the manifest says, unless its answers are given; the greedy splits last."""
    key, generation = resolved.keys["rows"], job.spec.generation
    requests = {}
    if job.spec.data.train.answers == "Teacher":
        records = read_rows(store, key, "train")
        requests["train"] = Request(records, resolved.sampling, generation.samples_per_prompt, generation.seed)
    requests["validation"] = Request(read_rows(store, key, "validation"), resolved.judge_sampling)
    requests["test"] = Request(read_rows(store, key, "test"), resolved.judge_sampling)
    return requests
