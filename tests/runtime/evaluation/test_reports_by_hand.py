"""Reports whose every number was computed by hand: what the models said, and what the report must say of it.

Rows of label tasks have one letter per record and model: y and n are labels, - is an answer that was cut off.
p is exact McNemar: of n records that one model alone has right, w by the first, 2 * sum(C(n, k), k <= min(w, n - w)) /
2^n. The interval of an accuracy is Wilson's. Where all differences are equal, so are all resamples.
"""

import json
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from kubedistill.report.models import LatencyControl, Report
from kubedistill.report.table import headline, table_lines
from kubedistill.report.words import gate_text, records_text
from kubedistill.v1alpha1 import Gate, Task
from kubedistill_runtime.evaluation.arms import judge
from kubedistill_runtime.evaluation.gate import decide
from kubedistill_runtime.report.markdown import render_markdown
from kubedistill_runtime.report.page import render_page
from support import sample_reports as made
from support import three_models

YES, NO, BOTH = ("yes",), ("no",), ("no", "yes")
SAID = {"y": "yes", "n": "no", "-": None}
QA, TALK = Task(type="QA"), Task(type="Conversation")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the three models said to the same records, and the numbers and words that follow."""

    teacher: Any
    baseline: Any
    distilled: Any
    references: list[tuple[str, ...]]
    expected: dict[str, Any]
    headline: str
    gate: str
    task: Task = three_models.LABELS
    limits: dict[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    notes: int = 0
    prompts: list[str] | None = None
    control: LatencyControl | None = None
    prices: bool = False


CASES = {
    "student closes most of the gap": Case(
        teacher="yyyyyyyy", baseline="ynnnnnnn", distilled="yyyyyyyn", references=[YES] * 8,
        expected={
            "arms.teacher.accuracy": 1.0, "arms.baseline.accuracy": 0.125, "arms.distilled.accuracy": 0.875,
            "arms.distilled.agreement": 0.875, "arms.distilled.invalidRate": 0.0,
            # yes: 7 hits, 7 given, 8 wanted: 14/15. no: given once, never wanted: 0.
            "arms.distilled.metrics.macroF1": Fraction(14, 15) / 2,
            "comparison.retention": 0.875, "comparison.gain": 0.75, "comparison.gapClosed": Fraction(6, 7),
            "comparison.pValue": 2 / 2**6, "comparison.rows": 8, "comparison.totalRows": 8,
            "labels": [{"label": "yes", "rows": 8, "teacher": 1.0, "baseline": 0.125, "distilled": 0.875}],
            # 5 times faster at a tenth of the memory, on one hardware, without prices.
            "reductions.latency": 0.8, "reductions.memory": 0.9, "reductions.cost": None,
        },
        headline="accuracy went from 12.5% to 87.5% (teacher 100.0%), 86% of the gap closed, p = 0.0312",
        gate="gate passed",
    ),
    "ties": Case(
        # Distilled and baseline have 4 right each, 2 of them the same: 2 wins, 2 losses.
        teacher="yyyyyynn", baseline="nnyyyynn", distilled="yyyynnnn", references=[YES] * 8,
        expected={
            "arms.teacher.accuracy": 0.75, "arms.baseline.accuracy": 0.5, "arms.distilled.accuracy": 0.5,
            "arms.baseline.agreement": 0.75, "arms.distilled.agreement": 0.75,
            "comparison.retention": Fraction(4, 6), "comparison.gain": 0.0, "comparison.pValue": 1.0,
            "comparison.gapClosed": None,  # teacher against baseline: 2 to 0, p = 0.5
            "comparison.verdict": "not distinguishable",
        },
        headline="accuracy went from 50.0% to 50.0% (teacher 75.0%): not distinguishable from the untrained student "
                 "(p = 1.0000)",
        gate="gate failed", reasons=("the student is not distinguishable from the baseline (p = 1.0000)",),
    ),
    "duplicates": Case(
        # Each of 6 prompts is asked twice, and one of the pair alone may have the reference.
        teacher="yyyyyyyyyyyy", baseline="nnnnnnnnnnnn", distilled="yyyyyyyyyyyy",
        references=[YES, YES, YES, (), YES, YES, YES, YES, YES, YES, YES, ()],
        prompts=[f"question {row % 6}" for row in range(12)],
        expected={
            "arms.teacher.accuracy": 1.0, "arms.baseline.accuracy": 0.0, "arms.distilled.accuracy": 1.0,
            "comparison.gain": 1.0, "comparison.ci95": [1.0, 1.0], "comparison.gapClosed": 1.0,
            "comparison.pValue": 2 / 2**6, "comparison.rows": 6, "comparison.totalRows": 6,
            "comparison.duplicates": 6,
        },
        headline="accuracy went from 0.0% to 100.0% (teacher 100.0%), 100% of the gap closed, p = 0.0312",
        gate="gate passed",
    ),
    "missing references": Case(
        # 2 of 10 records have no reference: scores are of 8, agreement of 10.
        teacher="yyyyyyyyyn", baseline="nnnnnnnnyn", distilled="yyyyyynnnn", references=[YES] * 8 + [(), ()],
        expected={
            "arms.teacher.accuracy": 1.0, "arms.baseline.accuracy": 0.0, "arms.distilled.accuracy": 0.75,
            "arms.teacher.agreement": 1.0, "arms.baseline.agreement": 0.2, "arms.distilled.agreement": 0.7,
            "comparison.gain": 0.75, "comparison.gapClosed": 0.75, "comparison.pValue": 2 / 2**6,
            "comparison.retention": 0.75, "comparison.rows": 8, "comparison.totalRows": 10,
            "labels": [{"label": "yes", "rows": 8, "teacher": 1.0, "baseline": 0.0, "distilled": 0.75}],
        },
        headline="accuracy went from 0.0% to 75.0% (teacher 100.0%), 75% of the gap closed, p = 0.0312 "
                 "(8 of 10 test records have a reference)",
        gate="gate passed", limits={"minAccuracy": 0.75},
    ),
    "several references": Case(
        # Both labels are right for the first 6 records. Distilled says the second one, and that is its truth there.
        teacher="nnnnnnyy", baseline="------nn", distilled="yyyyyyyn", references=[BOTH] * 6 + [YES] * 2,
        expected={
            "arms.teacher.accuracy": 1.0, "arms.baseline.accuracy": 0.0, "arms.distilled.accuracy": 0.875,
            "arms.baseline.invalidRate": 0.75, "arms.distilled.agreement": 0.125, "arms.teacher.metrics.macroF1": 1.0,
            # Truth of distilled: 8 yes; it says 7 yes and 1 no. yes: 14/15, no: 0.
            "arms.distilled.metrics.macroF1": Fraction(7, 15),
            "comparison.gain": 0.875, "comparison.pValue": 2 / 2**7, "comparison.gapClosed": 0.875,
            "labels": [
                {"label": "no", "rows": 6, "teacher": 1.0, "baseline": 0.0, "distilled": 1.0},
                {"label": "yes", "rows": 8, "teacher": 1.0, "baseline": 0.0, "distilled": 0.875},
            ],
        },
        headline="accuracy went from 0.0% to 87.5% (teacher 100.0%), 88% of the gap closed, p = 0.0156",
        gate="gate passed",
    ),
    "teacher worse than the baseline": Case(
        teacher="ynnnnnnn", baseline="yynnnnnn", distilled="yyyyyyyy", references=[YES] * 8,
        expected={
            "arms.teacher.accuracy": 0.125, "arms.baseline.accuracy": 0.25, "arms.distilled.accuracy": 1.0,
            "comparison.retention": 8.0, "comparison.gain": 0.75, "comparison.gapClosed": None,
            "comparison.pValue": 2 / 2**6, "comparison.verdict": "better",
        },
        headline="accuracy went from 25.0% to 100.0% (teacher 12.5%), p = 0.0312; the teacher is not measurably better "
                 "than the untrained student",
        gate="gate failed", limits={"minGapClosed": -1.0},
        reasons=("gap closed is not known, but minGapClosed requires -1",),
    ),
    "student worse, and no gate": Case(
        # The gap is real (8 to 0, p = 2/256), and the student went 6 of 8 the other way.
        teacher="y" * 16, baseline="y" * 8 + "n" * 8, distilled="y" * 2 + "n" * 14, references=[YES] * 16,
        limits={"requireSignificance": False},
        expected={
            "arms.baseline.accuracy": 0.5, "arms.distilled.accuracy": 0.125, "comparison.gain": -0.375,
            "comparison.gapClosed": -0.75, "comparison.pValue": 2 / 2**6, "comparison.verdict": "worse",
            "comparison.retention": 0.125, "gate.passed": True, "gate.limits": [],
        },
        headline="accuracy fell from 50.0% to 12.5% (teacher 100.0%): the student lost 37.5 points, p = 0.0312",
        gate="no gate set",
    ),
    "latency is noise": Case(
        # The student takes a fifth of the teacher's time, which maxLatencyRatio 0.1 would refuse; but that is noise.
        teacher="yyyyyyyy", baseline="nnnnnnnn", distilled="yyyyyyyy", references=[YES] * 8,
        limits={"maxLatencyRatio": 0.1, "requireSignificance": False}, control=three_models.noise(ratio=1.62), notes=1,
        prices=True,
        expected={
            "reductions.latency": None, "reductions.memory": 0.9,
            # 8 dollars an hour at 1,000 answers, 2 dollars at 10,000; made of times, they are not compared.
            "arms.teacher.costPerThousand": 8.0, "arms.distilled.costPerThousand": 0.2,
            "reductions.cost": None, "latencyControl.ratio": 1.62, "latencyControl.noise": True,
            "gate.limits": [], "comparison.pValue": 2 / 2**8,
        },
        headline="accuracy went from 0.0% to 100.0% (teacher 100.0%), 100% of the gap closed, p = 0.0078",
        gate="no limit was checked",
    ),
    "latency is not noise": Case(
        teacher="yyyyyyyy", baseline="nnnnnnnn", distilled="yyyyyyyy", references=[YES] * 8,
        limits={"maxLatencyRatio": 0.1}, control=three_models.noise(ratio=1.02),
        expected={"reductions.latency": 0.8, "latencyControl.noise": False},
        headline="accuracy went from 0.0% to 100.0% (teacher 100.0%), 100% of the gap closed, p = 0.0078",
        gate="gate failed", reasons=("latency ratio 0.2000 is above maxLatencyRatio 0.1",),
    ),
    "invalid answers": Case(
        teacher="yyyyyyyyy-", baseline="---------y", distilled="yyyyyyy-n-", references=[YES] * 9 + [NO],
        limits={"maxInvalidRate": 0.1, "minRetention": 0.75},
        expected={
            "arms.teacher.accuracy": 0.9, "arms.baseline.accuracy": 0.0, "arms.distilled.accuracy": 0.7,
            "arms.teacher.invalidRate": 0.1, "arms.baseline.invalidRate": 0.9, "arms.distilled.invalidRate": 0.2,
            # The teacher's invalid answer agrees with nothing.
            "arms.teacher.agreement": 0.9, "arms.distilled.agreement": 0.7,
            # yes: 7 hits, 7 given, 9 wanted: 14/16. no: no hit: 0.
            "arms.distilled.metrics.macroF1": Fraction(7, 16),
            "comparison.retention": Fraction(7, 9), "comparison.gapClosed": Fraction(7, 9),
            "comparison.pValue": 2 / 2**7,
        },
        headline="accuracy went from 0.0% to 70.0% (teacher 90.0%), 78% of the gap closed, p = 0.0156",
        gate="gate failed", reasons=("invalid rate 0.2000 is above maxInvalidRate 0.1",),
    ),
    "no references": Case(
        # The teacher's last answer is not valid: of 8 answers, 7 can be agreed with.
        teacher="yyyyyyn-", baseline="nnnnnnny", distilled="yyyyyyyy", references=[()] * 8,
        expected={
            "arms.teacher.accuracy": None, "arms.distilled.accuracyCi95": None, "arms.teacher.agreement": 0.875,
            "arms.baseline.agreement": 0.125, "arms.distilled.agreement": 0.75,
            "arms.distilled.metrics": {"macroF1": Fraction(6, 7) / 2 + 0},  # yes: 12/14 of 8 given, 6 wanted; no: 0
            "comparison.measure": "agreement with the teacher", "comparison.gain": 0.625,
            "comparison.pValue": 2 * 8 / 2**7,  # 6 wins, 1 loss: 2 (1 + 7) / 128
            "comparison.verdict": "not distinguishable", "comparison.rows": 8, "comparison.totalRows": 8, "labels": [],
        },
        headline="no test record has a reference; agreement with the teacher went from 12.5% to 75.0%: not "
                 "distinguishable from the untrained student (p = 0.1250)",
        gate="gate failed", reasons=("the student is not distinguishable from the baseline (p = 0.1250)",),
    ),
    "short answers": Case(
        # -5 is not 5, 42.0 is 42, and 1,000 km is 1000 km.
        teacher=["-5", "42", "1000 km", "Paris."] * 2, baseline=["5", "24", "1.000 km", "London"] * 2,
        distilled=["−5", "42.0", "1,000 km", "in Paris"] * 2,
        references=[("-5",), ("42",), ("1000 km",), ("Paris",)] * 2, task=QA,
        expected={
            "arms.teacher.accuracy": 1.0, "arms.baseline.accuracy": 0.0, "arms.distilled.accuracy": 0.75,
            "arms.baseline.metrics.tokenF1": 0.125,  # km alone: 0, 0, 1/2, 0
            "arms.distilled.metrics.tokenF1": Fraction(3 + Fraction(2, 3)) / 4,
            "comparison.measure": "exactMatch", "comparison.gain": 0.75, "comparison.pValue": 2 / 2**6,
        },
        headline="exactMatch went from 0.0% to 75.0% (teacher 100.0%), 75% of the gap closed, p = 0.0312",
        gate="gate passed",
    ),
    "conversations": Case(
        # The reference judges the last reply; agreement joins all of them.
        teacher=[("Hello.", "好的，谢谢。")] * 6, baseline=[("Hello.", "zzz")] * 6,
        distilled=[("Hello.", "好的，谢谢。")] * 6, references=[("好的，谢谢。", "谢谢。")] * 6, task=TALK,
        expected={
            "arms.distilled.accuracy": 1.0, "arms.distilled.metrics": {"chrf": 1.0, "bleu": 1.0},
            "arms.baseline.metrics": {"chrf": 0.0, "bleu": 0.0}, "arms.distilled.agreement": 1.0,
            "comparison.measure": "chrf", "comparison.gain": 1.0, "comparison.ci95": [1.0, 1.0],
            "comparison.pValue": 2 / 2**6,
        },
        headline="chrf went from 0.0% to 100.0% (teacher 100.0%), 100% of the gap closed, p = 0.0312",
        gate="gate passed",
    ),
    "no records": Case(
        teacher="", baseline="", distilled="", references=[],
        expected={
            "arms.distilled.accuracy": None, "arms.distilled.agreement": None, "arms.distilled.invalidRate": None,
            "comparison.gain": None, "comparison.pValue": None, "comparison.ci95": None, "comparison.rows": 0,
        },
        headline="there was no test record to evaluate", gate="gate failed", reasons=("no test record was evaluated",),
    ),
}  # fmt: skip


def report_of(case: Case) -> Report:
    """Return the whole report of a case; data, training and provenance are made up."""
    said = {
        name: [SAID[letter] for letter in some] if isinstance(some, str) else some
        for name, some in (("teacher", case.teacher), ("baseline", case.baseline), ("distilled", case.distilled))
    }
    found = three_models.judged(
        **said,
        references=case.references,
        task=case.task,
        prompts=case.prompts,
        control=case.control,
        prices=case.prices,
    )
    return made.make_report().model_copy(
        update={
            "arms": found.arms,
            "comparison": found.comparison,
            "reductions": found.reductions,
            "latency_control": found.control,
            "labels": found.labels,
            "examples": [],
            "gate": decide(Gate.model_validate(case.limits), found),
        }
    )


def at(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values[part]
    return values


def as_floats(expected: Any) -> Any:
    if isinstance(expected, dict):
        return {name: as_floats(value) for name, value in expected.items()}
    return float(expected) if isinstance(expected, Fraction) else expected


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_computed_by_hand(name: str) -> None:
    case = CASES[name]
    values = json.loads(report_of(case).model_dump_json(by_alias=True))
    json.dumps(values, allow_nan=False)
    found = {path: at(values, path) for path in case.expected}
    assert found == {path: as_floats(value) for path, value in case.expected.items()}


@pytest.mark.parametrize("name", CASES)
def test_words_follow_from_the_numbers(name: str) -> None:
    case, report = CASES[name], report_of(CASES[name])
    assert headline(report) == case.headline
    assert gate_text(report.gate) == case.gate
    assert report.gate.reasons == list(case.reasons)
    assert len(report.gate.notes) == case.notes


@pytest.mark.parametrize("name", CASES)
def test_every_form_says_the_same(name: str) -> None:
    """No number is made up and none is shown as a share that it is not; the page is checked as text."""
    case, report = CASES[name], report_of(CASES[name])
    pages = render_markdown(report, title="j"), render_page(report, title="j")
    for text in pages:
        assert case.headline[1:] in text
        assert records_text(report.comparison) in text
        assert case.gate.removeprefix("gate ") in text
        assert re.findall(r"nan|inf%|None|\{[a-z_]+\}|-[\d.]+%", text.split("<body>")[-1]) == []
    noise = report.latency_control is not None and report.latency_control.noise
    assert [("latency is noise" in text.lower()) for text in pages] == [noise] * 2
    assert [line.change == "noise" for line in table_lines(report) if line.name == "time per answer"] == [noise]


def test_interval_of_an_accuracy_is_wilsons() -> None:
    """7 of 8, z = 1.959964: (0.875 + z²/16 ± z sqrt(0.109375 / 8 + z² / 256)) / (1 + z² / 8)."""
    report = report_of(CASES["student closes most of the gap"])
    assert report.arms.distilled.accuracy_ci95 == pytest.approx((0.5291, 0.9776), abs=5e-5)


def test_squads_rule_gives_other_numbers() -> None:
    """Without signs and points, 5 is -5 and 1.000 km is 1000 km."""
    case = CASES["short answers"]
    arms = {
        name: three_models.make_tested(getattr(case, name), case.references, parameters=1)
        for name in ("teacher", "baseline", "distilled")
    }
    found = judge(arms, task=QA, seed=0, comparison="SQuAD").arms
    assert (found.teacher.accuracy, found.baseline.accuracy, found.distilled.accuracy) == (1.0, 0.5, 0.25)
