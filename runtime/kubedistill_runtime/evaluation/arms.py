"""The arms: three models' answers to the same records, scored alike."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kubedistill.report import Arm, Arms, Comparison, LatencyControl, Reductions
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.evaluation.metrics import SCORES, Score, measure
from kubedistill_runtime.evaluation.statistics import Scores, compare, mean_ci95
from kubedistill_runtime.serving.figures import ServingFigures
from kubedistill_runtime.tasks import TASKS

AGREEMENT = "agreement with the teacher"


@dataclass(frozen=True, slots=True)
class Tested:
    """One model after the test: its answers, its size and its serving figures."""

    answers: Sequence[Answered]
    parameters: int
    figures: ServingFigures
    price: float | None = None
    """US dollars per hour."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All three arms, scored and compared."""

    arms: Arms
    comparison: Comparison
    reductions: Reductions
    labels: list[dict[str, object]]
    control: LatencyControl | None = None


def judge(
    tested: Mapping[str, Tested], *, task: TaskSpec, seed: int, control: LatencyControl | None = None
) -> Judgement:
    """Score teacher, baseline and distilled on the same records, and compare them.

    Where some record has no reference, the scores are agreement with the teacher's answers, and are called so.
    """
    records = [answered.record for answered in tested["teacher"].answers]
    assert all([one.record.id for one in arm.answers] == [record.id for record in records] for arm in tested.values())
    headline = SCORES[TASKS[task.type].metrics[0]]
    parsed = {name: [parse_answer(one, task=task) for one in arm.answers] for name, arm in tested.items()}
    teacher_texts = [[text or ""] for text in parsed["teacher"]]
    judged = all(record.references for record in records)
    references = [list(record.references) for record in records] if judged else teacher_texts
    scores = {name: _score(headline, texts, references) for name, texts in parsed.items()}
    agreement = {name: _score(headline, texts, teacher_texts) for name, texts in parsed.items()}
    # Against the teacher's own answers nothing may be called accuracy.
    metrics = [metric for metric in TASKS[task.type].metrics if judged or metric != "accuracy"]
    arms = {
        name: Arm(
            accuracy=float(scores[name].mean()) if judged else None,
            accuracy_ci95=mean_ci95(scores[name]) if judged else None,
            agreement=float(agreement[name].mean()),
            invalid_rate=sum(text is None for text in parsed[name]) / len(records),
            metrics={metric: measure(metric, parsed[name], references) for metric in metrics},
            parameters=arm.parameters, memory_bytes=arm.figures.memory_bytes,
            peak_memory_bytes=arm.figures.peak_memory_bytes, latency_seconds=arm.figures.latency_seconds,
            latency_p95_seconds=arm.figures.latency_p95_seconds,
            first_token_seconds=arm.figures.first_token_seconds, token_seconds=arm.figures.token_seconds,
            throughput_per_hour=arm.figures.throughput_per_hour, cost_per_thousand=_cost(arm),
            hardware=arm.figures.hardware,
        )
        for name, arm in tested.items()
    }  # fmt: skip
    measure_name = TASKS[task.type].metrics[0] if judged else AGREEMENT
    return Judgement(
        arms=Arms(**arms),
        comparison=_compare(scores, measure_name=measure_name, seed=seed),
        reductions=_reduce(arms["teacher"], arms["distilled"]),
        labels=_per_label(scores, references) if task.answer_labels and judged else [],
        control=control,
    )


def parse_answer(answered: Answered, *, task: TaskSpec) -> str | None:
    """An answer in the form that references have; None where it is unfinished or not in the task's form."""
    turns = answered.answer.turns
    if not turns or any(turn.finish != "stop" for turn in turns):
        return None
    parsed = [TASKS[task.type].parse(turn.text, task.answer_labels) for turn in turns]
    return None if None in parsed else "\n".join(text for text in parsed if text is not None)


def _score(score: Score, texts: Sequence[str | None], references: Sequence[Sequence[str]]) -> Scores:
    return np.array([score(*row) for row in zip(texts, references, strict=True)], dtype=np.float64)


def _compare(scores: Mapping[str, Scores], *, measure_name: str, seed: int) -> Comparison:
    generator = np.random.default_rng(seed)
    gain = compare(scores["distilled"], scores["baseline"], generator=generator)
    gap = compare(scores["teacher"], scores["baseline"], generator=generator)
    teacher = float(scores["teacher"].mean())
    return Comparison(
        measure=measure_name,
        retention=float(scores["distilled"].mean()) / teacher if teacher > 0 else None,
        gain=gain.mean,
        gap_closed=gain.mean / gap.mean if gap.verdict == "better" else None,
        p_value=gain.p_value,
        ci95=gain.ci95,
        verdict=gain.verdict,
        rows=len(scores["teacher"]),
    )


def _reduce(teacher: Arm, distilled: Arm) -> Reductions:
    same_hardware = teacher.hardware == distilled.hardware
    costs = (teacher.cost_per_thousand, distilled.cost_per_thousand)
    return Reductions(
        latency=1 - distilled.latency_seconds / teacher.latency_seconds if same_hardware else None,
        memory=1 - distilled.memory_bytes / teacher.memory_bytes,
        cost=1 - costs[1] / costs[0] if costs[0] and costs[1] is not None else None,
    )


def _cost(arm: Tested) -> float | None:
    return None if arm.price is None else arm.price / arm.figures.throughput_per_hour * 1000


def _per_label(scores: Mapping[str, Scores], references: Sequence[Sequence[str]]) -> list[dict[str, object]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, reference in enumerate(references):
        places[reference[0]].append(place)
    return [
        {"label": label, "rows": len(rows), **{name: float(values[rows].mean()) for name, values in scores.items()}}
        for label, rows in sorted(places.items())
    ]
