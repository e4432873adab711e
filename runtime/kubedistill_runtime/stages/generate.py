"""Generate: the teacher answers every prompt once, and is measured."""

from collections.abc import Mapping

from kubedistill.contract.artifacts import AnswersFigures, AnswerSplit, EndpointFigures, JudgeFigures
from kubedistill.contract.summaries import GenerateSummary
from kubedistill_runtime.checks.yields import check_success
from kubedistill_runtime.curation.probe import make_judge
from kubedistill_runtime.records import Record, Split, read_rows
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.tasks.reasoning import for_teacher
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.requests import Request


def run(context: StageContext) -> Outcome:
    """Make the artifacts answers (train, as sampled) and judge (validation and test, greedy).

    Raises LowYield if too few answers ended by themselves, or a probe shows that too few will be kept.
    """
    job, store, keys = context.job, context.store, context.keys
    result = context.choices.teacher.answer(
        _requests(context), job=job, engines=context.engines, store=store, progress=context.progress
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
    kind = "endpoint" if isinstance(result.figures, EndpointFigures) else "serving"
    judged = JudgeFigures.model_validate({"rows_key": keys["rows"], "splits": judge, kind: result.figures})
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


def _requests(context: StageContext) -> dict[str, Request]:
    """Return what to generate: train as in the manifest, unless its answers are given, then the greedy splits."""
    choices, spec = context.choices, context.job.spec
    generation = spec.generation

    def read(split: Split) -> list[Record]:
        rows = read_rows(context.store, context.keys["rows"], split)
        return [for_teacher(record, spec.task) for record in rows]

    requests = {}
    if spec.data.train.answers == "Teacher":
        judge = make_judge(spec, read_rows(context.store, context.keys["rows"], "train"))
        requests["train"] = Request(
            read("train"), choices.sampling, generation.samples_per_prompt, generation.seed, judge
        )
    requests["validation"] = Request(read("validation"), choices.judge_sampling)
    requests["test"] = Request(read("test"), choices.judge_sampling)
    return requests
