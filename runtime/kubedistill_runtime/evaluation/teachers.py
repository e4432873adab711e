"""The teachers after the test: as one arm, and each on its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import (
    DatasetFigures,
    EndpointFigures,
    JudgeFigures,
    ServingFigures,
    TeacherAnswers,
    TeacherFigures,
)
from kubedistill.report.models import TeacherScores
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.evaluation.arms import Tested, parse_replies
from kubedistill_runtime.evaluation.figures import ModelFigures, Part, combine, figures_of
from kubedistill_runtime.evaluation.metrics import score_of
from kubedistill_runtime.evaluation.metrics.normalization import find_equality
from kubedistill_runtime.evaluation.prices import cost_per_thousand, teacher_price, why_unpriced
from kubedistill_runtime.evaluation.statistics import quotient
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.teachers.teacher import Teacher


@dataclass(frozen=True, slots=True)
class TestedTeacher:
    """One teacher, its figures and its greedy answers to the test records."""

    teacher: Teacher
    measured: ServingFigures | EndpointFigures
    figures: ModelFigures
    answers: Sequence[AnsweredRecord]
    unpriced: str
    """Why it has no price; empty if it has one, or if none is set."""


@dataclass(frozen=True, slots=True)
class TestedTeachers:
    """All teachers that answered a record."""

    each: Sequence[TestedTeacher]
    arm: Tested
    """All of them as one: the answer to each record that counts as the teacher's."""

    @property
    def answer_tokens(self) -> int | None:
        """Length of the longest median answer; None with an endpoint, which counts in tokens of its own."""
        known = [one.measured.answer_tokens for one in self.each if isinstance(one.measured, ServingFigures)]
        return max((count for count in known if count), default=None) if len(known) == len(self.each) else None

    @property
    def sampled_answers(self) -> int:
        """Number of greedy answers that an endpoint sampled all the same."""
        return sum(one.measured.sampled for one in self.each if isinstance(one.measured, EndpointFigures))


def read_teachers(
    teachers: Sequence[Teacher],
    answers: Sequence[AnsweredRecord],
    judged: JudgeFigures,
    *,
    chosen: Sequence[AnsweredRecord],
    job: StageJob,
) -> TestedTeachers:
    """Return the teachers with their figures, given their answers to the test records, and those that count."""
    several = len(teachers) > 1
    figures: Mapping[str, TeacherFigures] = judged.teachers if several else {teachers[0].name: judged}
    each = []
    for teacher, spec in zip(teachers, job.spec.teachers, strict=True):
        measured = figures[teacher.name].figures if teacher.name in figures else None
        if measured is None:
            continue  # no record was for it
        price = teacher_price(spec, job=job)
        cost = cost_per_thousand(measured, price)
        known = figures_of(
            measured, parameters=teacher.model.parameters if teacher.model else None, cost_per_thousand=cost
        )
        own = [one for one in answers if not several or one.teacher == teacher.name]
        each.append(TestedTeacher(teacher, measured, known, own, why_unpriced(measured, price)))
    parts = [
        Part(one.figures, frozenset(answer.record.id for answer in one.answers), one.teacher.digest) for one in each
    ]
    return TestedTeachers(each, Tested(chosen, combine(parts) if several else each[0].figures))


def score_teachers(teachers: TestedTeachers, dataset: DatasetFigures, *, spec: Spec) -> list[TeacherScores]:
    """Return the figures of each of several teachers; empty if there is one."""
    if len(spec.teachers) == 1:
        return []
    total = sum(counts.asked for counts in dataset.teachers.values())

    def scores(one: TestedTeacher) -> TeacherScores:
        counts = dataset.teachers.get(one.teacher.name, TeacherAnswers(asked=0, kept=0))
        return TeacherScores(
            name=one.teacher.name,
            source=one.teacher.source,
            digest=one.teacher.digest,
            asked=counts.asked,
            kept=counts.kept,
            share=quotient(counts.asked, total),
            tested=len(one.answers),
            accuracy=_accuracy(one.answers, spec=spec),
            latency_seconds=one.figures.latency_seconds,
            cost_per_thousand=one.figures.cost_per_thousand,
            hardware=one.figures.hardware,
        )

    return [scores(one) for one in teachers.each]


def _accuracy(answers: Sequence[AnsweredRecord], *, spec: Spec) -> float | None:
    """Return the mean score of answers against the references of their records; None if no record has one."""
    score = score_of(TASKS[spec.task.type].metrics[0], find_equality(spec))
    judged = [one for one in answers if one.record.references]
    replies = [(parse_replies(one, task=spec.task), one.record.references) for one in judged]
    scores = [score(None if texts is None else texts[-1], references) for texts, references in replies]
    return quotient(sum(scores), len(scores))
