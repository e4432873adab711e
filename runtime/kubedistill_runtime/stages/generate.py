"""Generate: the teachers answer every prompt once, and are measured."""

from collections.abc import Mapping
from dataclasses import replace

from kubedistill.contract.artifacts import (
    AnswersFigures,
    AnswerSplit,
    EndpointFigures,
    JudgeFigures,
    ServingFigures,
    TeacherFigures,
)
from kubedistill.contract.summaries import GenerateSummary
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.yields import check_success
from kubedistill_runtime.curation.probe import make_judge
from kubedistill_runtime.records import Record, Split, read_rows
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.tasks.reasoning import for_teacher
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.division import count_answers, divide
from kubedistill_runtime.teachers.requests import GenerationResult, Request

Result = GenerationResult[ServingFigures | EndpointFigures]


def run(context: StageContext) -> Outcome:
    """Make the artifacts answers (train, as sampled) and judge (validation and test, greedy).

    Raises LowYield if too few answers ended by themselves, or a probe shows that too few will be kept.
    """
    spec, store, keys = context.job.spec, context.store, context.keys
    requests = _requests(context)
    results = _answer(context, divide(requests, spec=spec))
    splits = {}
    for split, request in requests.items():
        parts = {name: result.pending[split] for name, result in results.items() if split in result.pending}
        splits[split] = describe_answers(parts, request, spec=spec)
        check_success(splits[split].asked, splits[split].ended, split=split, spec=spec)
    train = {name: part for name, part in splits.items() if name == "train"}
    judge = {name: part for name, part in splits.items() if name != "train"}
    answers = AnswersFigures(rows_key=keys["rows"], splits=train)
    publish(store, "answers", keys["answers"], answers, files=_shards(train))
    figures = {name: _figures(result) for name, result in results.items()}
    by_kind = dict(next(iter(figures.values()))) if len(spec.teachers) == 1 else {"teachers": figures}
    judged = JudgeFigures(rows_key=keys["rows"], splits=judge, **by_kind)
    publish(store, "judge", keys["judge"], judged, files=_shards(judge))
    rows, generated = sum(part.asked for part in splits.values()), sum(one.generated for one in results.values())
    return Outcome(
        summary=GenerateSummary(
            answers=rows,
            generated=generated,
            reused=rows - generated,
            teacher_tokens=sum(result.tokens for result in results.values()),
            seconds=round(context.progress.seconds(), 3),
        ),
        message=f"{generated:,} answers, {rows - generated:,} reused",
    )


def _answer(context: StageContext, divided: Mapping[str, Mapping[str, Request]]) -> dict[str, Result]:
    """Let the teachers answer their requests one after another; return the results by the teacher's name."""
    results, before = dict[str, Result](), 0
    total = sum(map(count_answers, divided.values()))
    for teacher in context.choices.teachers:
        if teacher.name in divided:
            with context.progress.part(before=before, total=total):
                results[teacher.name] = teacher.answer(
                    {split: _as_asked(one, context.job.spec.task) for split, one in divided[teacher.name].items()},
                    job=context.job,
                    engines=context.engines,
                    store=context.store,
                    progress=context.progress,
                )
            before += count_answers(divided[teacher.name])
    return results


def _figures(result: Result) -> TeacherFigures:
    """Return the figures of a teacher in the field of its kind."""
    if isinstance(result.figures, EndpointFigures):
        return TeacherFigures(endpoint=result.figures)
    return TeacherFigures(serving=result.figures)


def _shards(splits: Mapping[str, AnswerSplit]) -> list[str]:
    """Return the shards with the answers of some splits."""
    return list(dict.fromkeys(shard for part in splits.values() for shard in part.shards))


def _requests(context: StageContext) -> dict[str, Request]:
    """Return what to generate: train as in the manifest, unless its answers are given, then the greedy splits."""
    choices, spec = context.choices, context.job.spec
    generation = spec.generation

    def read(split: Split) -> list[Record]:
        return read_rows(context.store, context.keys["rows"], split)

    requests = {}
    if spec.data.train.answers == "Teacher":
        train = read("train")
        # The ratios are those of all teachers together, so the answers of one of several decide nothing.
        one = len(spec.teachers) == 1
        judge = make_judge(spec, train, shortest=choices.keeps_shortest) if one else None
        requests["train"] = Request(train, choices.sampling, generation.samples_per_prompt, generation.seed, judge)
    requests["validation"] = Request(read("validation"), choices.judge_sampling)
    requests["test"] = Request(read("test"), choices.judge_sampling)
    return requests


def _as_asked(request: Request, task: Task) -> Request:
    """Return a request with its records as a teacher is asked; routes depend on the records as they are."""
    return replace(request, records=[for_teacher(record, task) for record in request.records])
