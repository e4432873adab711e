"""The arms: the answers of teacher, baseline and distilled student to the same records, scored in the same way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kubedistill.report.models import Arm, Arms, Comparison, LabelScores, LatencyControl, Reductions
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.evaluation.figures import ModelFigures
from kubedistill_runtime.evaluation.metrics import Score, measure, score_of
from kubedistill_runtime.evaluation.metrics.normalization import Equality
from kubedistill_runtime.evaluation.statistics import Scores, compare, mean_ci95, quotient
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.tasks.reasoning import read_answer

AGREEMENT = "agreement with the teacher"

Texts = Mapping[str, Sequence[str | None]]
"""Parsed answers by arm; None is an answer that is not in the required form."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One arm after the test: its answers and its figures."""

    answers: Sequence[AnsweredRecord]
    figures: ModelFigures


@dataclass(frozen=True, slots=True)
class Judgment:
    """All three arms, scored and compared."""

    arms: Arms
    comparison: Comparison
    reductions: Reductions
    labels: list[LabelScores]
    control: LatencyControl | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """The texts to compare: records with their references, or all records with the teacher's answers."""

    measure: str
    texts: Texts
    references: Sequence[Sequence[str]]
    by_reference: bool


def judge(
    tested: Mapping[str, Tested],
    *,
    task: TaskSpec,
    seed: int,
    comparison: Equality = "Default",
    control: LatencyControl | None = None,
    duplicates: int = 0,
) -> Judgment:
    """Score teacher, baseline and distilled on the same records, and compare them.

    Records with references are scored by them; if none has one, the scores are agreement with the teacher's answers,
    and are named so. References are compared with the last reply of a conversation, agreement with all replies. Prompts
    are distinct; `duplicates` is the number of dropped duplicates, for the report.
    """
    records = [answered.record for answered in tested["teacher"].answers]
    assert all([one.record.id for one in arm.answers] == [record.id for record in records] for arm in tested.values())
    score = score_of(TASKS[task.type].metrics[0], comparison)
    replies = {name: [parse_replies(one, task=task) for one in arm.answers] for name, arm in tested.items()}
    whole = {name: [None if one is None else "\n".join(one) for one in some] for name, some in replies.items()}
    teacher = [[] if text is None else [text] for text in whole["teacher"]]
    judged = _choose(tested, replies, whole, teacher=teacher, task=task)
    scored = {name: _score(score, texts, judged.references) for name, texts in judged.texts.items()}
    arms = {
        name: _arm(
            arm,
            task=task,
            judged=judged,
            comparison=comparison,
            name=name,
            score_N=scored[name],
            agreement_N=_score(score, whole[name], teacher),
            invalid=whole[name].count(None),
        )
        for name, arm in tested.items()
    }
    total, found = len(whole["teacher"]), _compare(scored, measure_name=judged.measure, seed=seed)
    return Judgment(
        arms=Arms(**arms),
        comparison=found.model_copy(update={"total_rows": total, "duplicates": duplicates}),
        reductions=_reduce(arms["teacher"], arms["distilled"], control=control),
        labels=_per_label(scored, judged.references) if task.answer_labels and judged.by_reference else [],
        control=control,
    )


def parse_replies(answered: AnsweredRecord, *, task: TaskSpec) -> tuple[str, ...] | None:
    """Return the replies in the form of references, or None if one is unfinished or not in the task's form."""
    turns = answered.answer.turns
    if not turns or any(turn.finish != "stop" for turn in turns):
        return None
    parsed = [read_answer(turn.text, task) for turn in turns]
    return None if None in parsed else tuple(text for text in parsed if text is not None)


def _choose(
    tested: Mapping[str, Tested],
    replies: Mapping[str, Sequence[tuple[str, ...] | None]],
    whole: Texts,
    *,
    teacher: Sequence[Sequence[str]],
    task: TaskSpec,
) -> _Judged:
    references = [answered.record.references for answered in tested["teacher"].answers]
    rows = [row for row, some in enumerate(references) if some]
    if not rows:
        return _Judged(AGREEMENT, whole, teacher, by_reference=False)
    last = {name: [None if (one := some[row]) is None else one[-1] for row in rows] for name, some in replies.items()}
    return _Judged(TASKS[task.type].metrics[0], last, [references[row] for row in rows], by_reference=True)


def _score(score: Score, texts: Sequence[str | None], references: Sequence[Sequence[str]]) -> Scores:
    return np.array([score(*row) for row in zip(texts, references, strict=True)], dtype=np.float64)


def _arm(
    arm: Tested,
    *,
    task: TaskSpec,
    judged: _Judged,
    comparison: Equality,
    name: str,
    score_N: Scores,
    agreement_N: Scores,
    invalid: int,
) -> Arm:
    # A comparison with the teacher's answers must not be called accuracy.
    metrics = [metric for metric in TASKS[task.type].metrics if judged.by_reference or metric != "accuracy"]
    texts = judged.texts[name]
    return Arm(
        accuracy=_mean(score_N) if judged.by_reference else None,
        accuracy_ci95=mean_ci95(score_N) if judged.by_reference else None,
        agreement=_mean(agreement_N),
        invalid_rate=quotient(invalid, len(agreement_N)),
        metrics={metric: measure(metric, texts, judged.references, comparison=comparison) for metric in metrics},
        **asdict(arm.figures),
    )


def _compare(scored: Mapping[str, Scores], *, measure_name: str, seed: int) -> Comparison:
    rows = len(scored["teacher"])
    if not rows:
        return Comparison(
            measure=measure_name,
            retention=None,
            gain=None,
            gap_closed=None,
            p_value=None,
            ci95=None,
            verdict="not distinguishable",
            rows=0,
        )
    generator = np.random.default_rng(seed)
    teacher_N, baseline_N, distilled_N = (scored[name] for name in ("teacher", "baseline", "distilled"))
    gain = compare(distilled_N, baseline_N, generator=generator)
    gap = compare(teacher_N, baseline_N, generator=generator)
    closed = quotient(float((distilled_N - baseline_N).sum()), float((teacher_N - baseline_N).sum()))
    return Comparison(
        measure=measure_name,
        retention=quotient(float(distilled_N.sum()), float(teacher_N.sum())),
        gain=gain.mean,
        gap_closed=closed if gap.verdict == "better" else None,
        p_value=gain.p_value,
        ci95=gain.ci95,
        verdict=gain.verdict,
        rows=rows,
    )


def _reduce(teacher: Arm, distilled: Arm, *, control: LatencyControl | None) -> Reductions:
    timed = not (control and control.noise)
    comparable = timed and teacher.hardware == distilled.hardware
    return Reductions(
        latency=_saved(distilled.latency_seconds, teacher.latency_seconds) if comparable else None,
        memory=_saved(distilled.memory_bytes, teacher.memory_bytes),
        cost=_saved(distilled.cost_per_thousand, teacher.cost_per_thousand) if timed else None,
    )


def _saved(after: float | None, before: float | None) -> float | None:
    share = None if after is None or before is None else quotient(after, before)
    return None if share is None else 1 - share


def _mean(scores_N: Scores) -> float | None:
    return float(scores_N.mean()) if len(scores_N) else None


def _per_label(scored: Mapping[str, Scores], references: Sequence[Sequence[str]]) -> list[LabelScores]:
    """Return the scores of each label over its records; a record with two correct labels counts for both."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, labels in enumerate(references):
        for label in dict.fromkeys(labels):
            places[label].append(place)
    return [
        LabelScores(label=label, rows=len(rows), **{name: values[rows].mean() for name, values in scored.items()})
        for label, rows in sorted(places.items())
    ]
