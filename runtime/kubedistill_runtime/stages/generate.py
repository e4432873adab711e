"""Generate: the teacher answers every prompt once, and is measured while its engine is warm."""

from collections.abc import Mapping

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import AnswersFigures, AnswerSplit, JudgeFigures
from kubedistill.contract.summaries import GenerateSummary
from kubedistill_runtime.chat import date_for, load_stop_ids
from kubedistill_runtime.checks.yields import check_success
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.serving.figures import Machine
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.generate import Request, generate_answers

_AT = "spec.teachers[0].model.source"


def run(context: StageContext) -> Outcome:
    """Make the artifacts answers (train, as sampled) and judge (validation and test, greedy).

    Raises LowYield if too few answers ended by themselves.
    """
    job, store, keys = context.job, context.store, context.keys
    serving = teacher_serving(job, context.choices)
    result = generate_answers(
        _requests(context),
        serving=serving,
        at=_AT,
        engines=context.engines,
        store=store,
        progress=context.progress,
        machine=Machine(context.engines.hardware(gpus=serving.gpus), job.pools.teacher),
    )
    splits = {}
    for name, part in result.pending.items():
        ended = part.count_ended(store)
        check_success(len(part.rows), ended, split=name, spec=job.spec)
        splits[name] = describe_answers(part.rows, key=part.key, ended=ended, store=store)
    train = {name: part for name, part in splits.items() if name == "train"}
    judge = {name: part for name, part in splits.items() if name != "train"}
    answers = AnswersFigures(rows_key=keys["rows"], splits=train)
    publish(store, "answers", keys["answers"], answers, files=_shards(train))
    judged = JudgeFigures(rows_key=keys["rows"], splits=judge, serving=result.figures)
    publish(store, "judge", keys["judge"], judged, files=_shards(judge))
    rows, generated = sum(len(part.rows) for part in splits.values()), result.generated
    return Outcome(
        summary=GenerateSummary(
            answers=rows,
            generated=generated,
            reused=rows - generated,
            teacher_tokens=result.tokens,
            seconds=round(context.progress.seconds(), 3),
        ),
        message=f"{generated:,} answers, {rows - generated:,} reused",
    )


def _shards(splits: Mapping[str, AnswerSplit]) -> list[str]:
    """Return the shards with the answers of some splits."""
    return list(dict.fromkeys(shard for part in splits.values() for shard in part.shards))


def teacher_serving(job: StageJob, choices: Choices) -> Serving:
    """Return the settings of the teacher's engine."""
    model = job.spec.teachers[0].model
    return Serving(
        model=choices.teacher,
        max_model_len=choices.max_model_len,
        dtype=choices.teacher_dtype,
        k=choices.k,
        stop_ids=load_stop_ids(choices.teacher),
        quantization=model.quantization,
        date=date_for(choices.teacher, choices.date),
        tensor_parallel_size=model.tensor_parallel_size,
        pipeline_parallel_size=model.pipeline_parallel_size,
        at=_AT,
    )


def _requests(context: StageContext) -> dict[str, Request]:
    """Return what to generate: train as in the manifest, unless its answers are given, then the greedy splits."""
    choices, store, key = context.choices, context.store, context.keys["rows"]
    generation = context.job.spec.generation
    requests = {}
    if context.job.spec.data.train.answers == "Teacher":
        records = read_rows(store, key, "train")
        requests["train"] = Request(records, choices.sampling, generation.samples_per_prompt, generation.seed)
    requests["validation"] = Request(read_rows(store, key, "validation"), choices.judge_sampling)
    requests["test"] = Request(read_rows(store, key, "test"), choices.judge_sampling)
    return requests
