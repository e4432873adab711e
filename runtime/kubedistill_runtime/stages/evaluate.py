"""Evaluate: compare the student with its teacher and with itself before training."""

from collections.abc import Sequence
from dataclasses import replace

from kubedistill.canonical import digest
from kubedistill.contract.artifacts import (
    Curve,
    DatasetFigures,
    JudgeFigures,
    RowsFigures,
    StudentFigures,
)
from kubedistill.contract.summaries import EvaluateSummary, GateVerdict, ReportFigures
from kubedistill.report.models import Example, Funnel, ModelSource, Provenance, Report, Seeds, TrainingRecord
from kubedistill.report.words import gate_text
from kubedistill.stored import read_stored_json
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.checks.splits import sample
from kubedistill_runtime.curation.selection import choose_answers
from kubedistill_runtime.evaluation.arms import Judgment, Tested, judge
from kubedistill_runtime.evaluation.gate import decide
from kubedistill_runtime.evaluation.metrics.normalization import find_equality
from kubedistill_runtime.evaluation.prices import student_price, why_unpriced
from kubedistill_runtime.evaluation.served_defaults import find_served_defaults
from kubedistill_runtime.evaluation.students import Students, compare_students
from kubedistill_runtime.evaluation.teachers import TestedTeachers, read_teachers, score_teachers
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import now
from kubedistill_runtime.records import Record, read_rows
from kubedistill_runtime.report import names_of, write_report
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import draft_artifact, publish, read_figures, trained_folder
from kubedistill_runtime.student_format import student_context
from kubedistill_runtime.tasks.reasoning import for_student, to_target
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from kubedistill_runtime.teachers.teacher import Teacher

_EXAMPLES = 6


def run(context: StageContext) -> Outcome:
    """Make the report artifact; the teacher's answers and figures come from the judge artifact."""
    job, choices, store, keys = context.job, context.choices, context.store, context.keys
    records = sample(read_rows(store, keys["rows"], "test"), limit=job.spec.evaluation.sample_limit)
    teachers = _teachers(context, records=records)
    students = compare_students(
        job,
        choices,
        models={"baseline": choices.student, "distilled": _distilled(context)},
        records=[for_student(record, job.spec.task) for record in records],
        # Without their reasoning, students answer in another form.
        answer_tokens=None if job.spec.task.answers_alone else teachers.answer_tokens,
        engines=context.engines,
        store=store,
        progress=context.progress,
    )
    dataset = read_figures(store, "dataset", keys["dataset"], DatasetFigures)
    tested, funnel = {"teacher": teachers.arm, **students.tested}, _funnel(context, dataset=dataset)
    judgment = judge(
        tested,
        task=job.spec.task,
        seed=job.spec.training.seed,
        comparison=find_equality(job.spec),
        control=students.control,
        duplicates=funnel.dropped.get("Duplicate", {}).get("test", 0),
    )
    gate = decide(job.spec.evaluation.gate, judgment)
    report = Report(
        arms=judgment.arms,
        comparison=judgment.comparison,
        reductions=judgment.reductions,
        gate=gate,
        latency_control=judgment.control,
        data=funnel,
        training=_training(context),
        labels=judgment.labels,
        examples=_examples(tested),
        provenance=_provenance(context, teachers, students),
        teachers=score_teachers(teachers, dataset, spec=job.spec),
    )
    context.progress.loading("writing the report")
    with draft_artifact(store, "report", keys["report"]) as draft:
        write_report(report, store=store, folder=draft, title=job.job.name)
        headline = publish(store, "report", keys["report"], _headline(judgment, gate), draft=draft)
    message = "" if headline.gate is None else gate_text(headline.gate)
    message = f"{message}; latency is noise" if headline.latency_noise else message
    seconds = round(context.progress.seconds(), 3)
    summary = EvaluateSummary(**dict(headline), student_tokens=students.tokens, seconds=seconds)
    return Outcome(summary=summary, message=message)


def _teachers(context: StageContext, *, records: Sequence[Record]) -> TestedTeachers:
    key, asked = context.keys["judge"], {record.id for record in records}
    given = read_answer_set(context.store, "judge", key, "test", distributions=False)
    answers = [to_target(one, context.job.spec.task) for one in given if one.record.id in asked]
    judged = read_figures(context.store, "judge", key, JudgeFigures)
    chosen = list(choose_answers(answers, spec=context.job.spec))
    return read_teachers(context.choices.teachers, answers, judged, chosen=chosen, job=context.job)


def _distilled(context: StageContext) -> Model:
    store = context.store
    folder = store.path(f"{trained_folder(store, context.keys['student'])}/model")
    model = find_model(
        str(folder),
        trust_remote_code=context.choices.student.trust_remote_code,
        data_root=folder,
        store=store,
        at="artifacts/student",
    )
    return replace(model, source="the distilled student")


def _funnel(context: StageContext, *, dataset: DatasetFigures) -> Funnel:
    rows = read_figures(context.store, "rows", context.keys["rows"], RowsFigures)
    return Funnel(**dict(rows), **dict(dataset))


def _training(context: StageContext) -> TrainingRecord:
    store, key = context.store, context.keys["student"]
    return TrainingRecord(
        **dict(read_figures(store, "student", key, StudentFigures)),
        objective_reason=context.choices.objective_reason,
        top_logprobs=context.choices.k,
        curve=read_stored_json(Curve, store.read(f"{trained_folder(store, key)}/curve.json")),
    )


def _examples(tested: dict[str, Tested]) -> list[Example]:
    """Return a few records where the students differ, or the first ones if they never do."""

    def text(one: AnsweredRecord) -> str:
        return "\n".join(turn.text for turn in one.answer.turns)

    together = list(zip(*(tested[name].answers for name in ("teacher", "baseline", "distilled")), strict=True))
    different = [row for row in together if text(row[1]) != text(row[2])] or together
    return [
        Example(
            id=teacher.record.id,
            prompt="\n".join(m.content for m in teacher.record.messages if m.role == "user"),
            reference=teacher.record.references[0] if teacher.record.references else None,
            references=list(teacher.record.references),
            teacher=text(teacher),
            baseline=text(baseline),
            distilled=text(distilled),
        )
        for teacher, baseline, distilled in different[:_EXAMPLES]
    ]


def _provenance(context: StageContext, teachers: TestedTeachers, students: Students) -> Provenance:
    job, choices, student = context.job, context.choices, students.figures
    several = len(teachers.each) > 1
    unpriced = {f"teacher {one.teacher.name}" if several else "teacher": one.unpriced for one in teachers.each}
    unpriced["student"] = why_unpriced(student, student_price(job))
    return Provenance(
        **names_of(job),
        at=now(),
        task=job.spec.task.type,
        artifacts=dict(choices.keys.items()),
        teacher=_source_of(choices.teachers),
        student=ModelSource(source=choices.student.source, digest=choices.student.digest),
        seeds=Seeds(generation=job.spec.generation.seed, training=job.spec.training.seed),
        hardware=student.hardware,
        versions=student.versions,
        unpriced={name: reason for name, reason in unpriced.items() if reason},
        untimed=students.untimed,
        sampled_answers=teachers.sampled_answers,
        served_defaults=find_served_defaults(choices.student, context=student_context(choices)),
    )


def _source_of(teachers: Sequence[Teacher]) -> ModelSource:
    digests = [teacher.digest for teacher in teachers]
    source = " + ".join(teacher.source for teacher in teachers)
    return ModelSource(source=source, digest=digests[0] if len(digests) == 1 else digest(digests))


def _headline(judgment: Judgment, gate: GateVerdict) -> ReportFigures:
    compared, arms = judgment.comparison, judgment.arms
    return ReportFigures(
        measure=compared.measure,
        teacher_accuracy=arms.teacher.accuracy,
        baseline_accuracy=arms.baseline.accuracy,
        distilled_accuracy=arms.distilled.accuracy,
        retention=compared.retention,
        gain=compared.gain,
        gap_closed=compared.gap_closed,
        p_value=compared.p_value,
        rows=compared.rows,
        total_rows=compared.total_rows,
        latency_noise=judgment.control is not None and judgment.control.noise,
        gate=gate,
    )
