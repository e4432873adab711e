"""Three made-up models that answered the same records."""

from collections.abc import Sequence
from typing import Any

from kubedistill.contract.artifacts import ServingFigures
from kubedistill.report.models import LatencyControl
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.checks.splits import drop_duplicates
from kubedistill_runtime.evaluation.arms import Judgment, Tested, judge
from kubedistill_runtime.evaluation.figures import figures_of
from kubedistill_runtime.evaluation.metrics.normalization import Equality
from kubedistill_runtime.evaluation.prices import cost_at
from kubedistill_runtime.records import Message, Record

LABELS = Task(type="Classification", labels=("yes", "no"))

Said = str | None | tuple[str, ...]
"""A reply, the replies of a conversation, or None for a reply that was cut off."""


def figures(**values: Any) -> ServingFigures:
    """Return serving figures of a small model; name what differs."""
    defaults = {
        "latency_seconds": 0.2,
        "latency_p95_seconds": 0.3,
        "throughput_per_hour": 10_000.0,
        "tokens_per_second": 50.0,
        "memory_bytes": 400,
        "peak_memory_bytes": 900,
        "hardware": "cpu",
        "versions": {"python": "3.11"},
    }
    return ServingFigures(**{**defaults, **values})


def answer(said: Said) -> Answer:
    """Return an answer without ids, which nobody needs for judging."""
    if said is None:
        return Answer("key", (Turn((), (), "yes but", "length"),))
    texts = (said,) if isinstance(said, str) else said
    return Answer("key", tuple(Turn((), (), text, "stop") for text in texts))


def make_tested(
    said: Sequence[Said],
    references: Sequence[tuple[str, ...]],
    *,
    parameters: int,
    price: float | None = None,
    prompts: Sequence[str] | None = None,
    **values: Any,
) -> Tested:
    """Return one model after the test; of records with one prompt Prepare leaves one."""
    records = [
        Record(
            f"r{row}", (Message("user", f"question {row}" if prompts is None else prompts[row]),), references=reference
        )
        for row, reference in enumerate(references)
    ]
    texts = {record.id: text for record, text in zip(records, said, strict=True)}
    distinct, _ = drop_duplicates(records, labels=LABELS.answer_labels)
    answers = [AnsweredRecord(record, 0, answer(texts[record.id])) for record in distinct]
    found = figures(**values)
    return Tested(answers, figures_of(found, parameters=parameters, cost_per_thousand=cost_at(price, found)))


def judged(
    *,
    teacher: Sequence[Said],
    baseline: Sequence[Said],
    distilled: Sequence[Said],
    references: Sequence[tuple[str, ...]],
    task: Task = LABELS,
    seed: int = 0,
    prices: bool = False,
    prompts: Sequence[str] | None = None,
    control: LatencyControl | None = None,
    comparison: Equality = "Default",
    **student: Any,
) -> Judgment:
    """Judge three models; the teacher takes ten times the memory, five times the time and a tenth of the load."""
    large = {"latency_seconds": 1.0, "throughput_per_hour": 1_000.0, "memory_bytes": 4000, "prompts": prompts}
    small = {"parameters": 10, "price": 2.0 if prices else None, "prompts": prompts, **student}
    return judge(
        {
            "teacher": make_tested(teacher, references, parameters=100, price=8.0 if prices else None, **large),
            "baseline": make_tested(baseline, references, **small),
            "distilled": make_tested(distilled, references, **small),
        },
        task=task,
        seed=seed,
        comparison=comparison,
        control=control,
        duplicates=len(references) - len(set(prompts or range(len(references)))),
    )


def noise(*, ratio: float) -> LatencyControl:
    """Return the control of latency; a ratio more than 15 % from 1 is noise."""
    return LatencyControl(rounds=5, output_tokens=32, ratio=ratio, spread=(0.9, 1.9), noise=abs(ratio - 1) > 0.15)


def right(count: int, *, of: int, first: int = 0) -> list[Said]:
    """Return answers of which so many in a row are "yes", the reference of all."""
    return ["yes" if first <= row < first + count else "no" for row in range(of)]


def usual(**more: Any) -> Judgment:
    """40 records: teacher 36 right, baseline 12, distilled 30."""
    fields = {
        "teacher": right(36, of=40),
        "baseline": right(12, of=40),
        "distilled": right(30, of=40),
        "references": [("yes",)] * 40,
        **more,
    }
    return judged(**fields)
