"""The arms: three models on the same records, and what may be said about them."""

import math

import pytest

from kubedistill.v1alpha1 import Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.evaluation.arms import judge, parse_replies
from kubedistill_runtime.records import Message, Record
from support import three_models

TALK, QUESTION = Task(type="Conversation"), Task(type="QA")


def test_trio_by_hand() -> None:
    found = three_models.usual()
    arms, compared = found.arms, found.comparison
    assert [arm.accuracy for arm in (arms.teacher, arms.baseline, arms.distilled)] == [0.9, 0.3, 0.75]
    assert (compared.measure, compared.rows, compared.verdict) == ("accuracy", 40, "better")
    assert compared.retention == pytest.approx(0.75 / 0.9)
    assert compared.gain == pytest.approx(0.45)
    assert compared.gap_closed == pytest.approx(0.45 / 0.6)
    assert compared.p_value == pytest.approx(2 * 0.5**18), "18 records gained and none lost"
    assert 0.28 < compared.ci95[0] < 0.36
    assert 0.54 < compared.ci95[1] < 0.62


def test_interval_of_each_accuracy_is_its_own() -> None:
    arms = three_models.usual().arms
    assert arms.teacher.accuracy_ci95 == pytest.approx((0.7695, 0.9604), abs=1e-4)  # Wilson, 36 of 40
    assert arms.baseline.accuracy_ci95 == pytest.approx((0.1807, 0.4543), abs=1e-4)  # Wilson, 12 of 40


def test_agreement_is_with_the_teacher_even_where_it_errs() -> None:
    arms = three_models.usual().arms
    assert arms.teacher.agreement == 1
    assert arms.distilled.agreement == pytest.approx(34 / 40), "both say no to the last 4, the student alone to 6"


def test_noise_is_not_distinguishable_and_closes_no_gap() -> None:
    found = three_models.usual(distilled=three_models.right(13, of=40)).comparison
    assert found.verdict == "not distinguishable"
    assert found.gap_closed == pytest.approx(1 / 24), "the gap itself is real"


@pytest.mark.parametrize("teacher", [12, 14, 17, 5])
def test_gap_is_unknown_unless_the_teacher_is_significantly_better_than_the_baseline(teacher: int) -> None:
    found = three_models.usual(teacher=three_models.right(teacher, of=40)).comparison
    assert found.gap_closed is None
    assert found.verdict == "better"


def test_gap_is_known_from_six_records_on() -> None:
    """6 of 6 is the least that exact McNemar calls significant, p = 0.03125."""
    assert three_models.usual(teacher=three_models.right(18, of=40)).comparison.gap_closed == pytest.approx(3.0)


def test_teacher_that_knows_nothing_leaves_retention_unknown() -> None:
    assert three_models.usual(teacher=["no"] * 40).comparison.retention is None


def test_worse_student_is_called_worse() -> None:
    found = three_models.usual(distilled=["no"] * 40).comparison
    assert found.verdict == "worse"
    assert found.gain == pytest.approx(-0.3)
    assert found.ci95[1] < 0


def test_without_references_the_report_has_agreement_and_no_accuracy() -> None:
    found = three_models.usual(references=[()] * 40)
    for arm in (found.arms.teacher, found.arms.baseline, found.arms.distilled):
        assert (arm.accuracy, arm.accuracy_ci95) == (None, None)
        assert "accuracy" not in arm.metrics
    assert found.comparison.measure == "agreement with the teacher"
    assert found.arms.baseline.agreement == pytest.approx(16 / 40)
    assert found.comparison.gain == pytest.approx(34 / 40 - 16 / 40)
    assert found.labels == []


def test_records_without_a_reference_are_only_compared_with_the_teacher() -> None:
    """The last 4 records, to which the teacher says no, have no reference; agreement is of all 40."""
    found = three_models.usual(references=[("yes",)] * 36 + [()] * 4)
    arms = (found.arms.teacher, found.arms.baseline, found.arms.distilled)
    assert (found.comparison.measure, found.comparison.rows, found.comparison.total_rows) == ("accuracy", 36, 40)
    assert [arm.accuracy for arm in arms] == [1.0, 12 / 36, 30 / 36]
    assert found.arms.distilled.agreement == 34 / 40
    assert found.arms.distilled.metrics["accuracy"] == pytest.approx(30 / 36)
    assert [label.rows for label in found.labels] == [36]


def test_a_prompt_that_stands_twice_counts_once() -> None:
    """6 prompts, each asked twice: p is that of 6 records, not of 12, and any record's reference is right."""
    prompts = [f"question {row % 6}" for row in range(12)]
    once = three_models.judged(
        teacher=["yes"] * 6, baseline=["no"] * 6, distilled=["yes"] * 6, references=[("yes",)] * 6
    )
    twice = three_models.judged(
        teacher=["yes"] * 12,
        baseline=["no"] * 12,
        distilled=["yes"] * 12,
        prompts=prompts,
        references=[("yes",)] * 5 + [()] + [("yes",)] * 6,
    )
    assert twice.arms == once.arms
    assert twice.comparison == once.comparison.model_copy(update={"duplicates": 6})
    assert (once.comparison.rows, once.comparison.duplicates) == (6, 0)
    assert once.comparison.p_value == 2 / 2**6


def test_without_records_nothing_is_made_up() -> None:
    found = three_models.judged(teacher=[], baseline=[], distilled=[], references=[])
    compared, arm = found.comparison, found.arms.distilled
    assert (compared.gain, compared.retention, compared.gap_closed, compared.p_value, compared.ci95) == (None,) * 5
    assert (arm.accuracy, arm.agreement, arm.invalid_rate) == (None, None, None)
    assert (compared.rows, found.labels) == (0, [])


@pytest.mark.parametrize(
    ("lacking", "unknown"),
    [("throughput_per_hour", "cost"), ("latency_seconds", "latency"), ("memory_bytes", "memory")],
)
def test_figures_of_0_divide_nothing(lacking: str, unknown: str) -> None:
    arm = three_models.make_tested(["yes"], [("yes",)], parameters=10, price=2.0, **{lacking: 0})
    found = judge(dict.fromkeys(("teacher", "baseline", "distilled"), arm), task=three_models.LABELS, seed=0)
    assert getattr(found.reductions, unknown) is None
    others = {"cost", "latency", "memory"} - {unknown}
    assert {getattr(found.reductions, other) for other in others} == {0}


def test_a_record_with_two_labels_counts_for_both() -> None:
    found = three_models.usual(references=[("no", "yes")] * 36 + [("no",)] * 4)
    assert [label.model_dump() for label in found.labels] == [
        {"label": "no", "rows": 40, "teacher": 1.0, "baseline": 1.0, "distilled": 1.0},
        {"label": "yes", "rows": 36, "teacher": 1.0, "baseline": 1.0, "distilled": 1.0},
    ]
    assert found.arms.teacher.metrics == {"accuracy": 1.0, "macroF1": 1.0}


@pytest.mark.parametrize("task", [three_models.LABELS, QUESTION, TALK])
def test_a_teacher_without_a_valid_answer_agrees_with_nobody(task: Task) -> None:
    said = ["yes"] * 6 + [None] * 2
    arms = three_models.judged(teacher=said, baseline=said, distilled=["yes"] * 8, references=[()] * 8, task=task).arms
    assert (arms.teacher.agreement, arms.baseline.agreement, arms.distilled.agreement) == (0.75, 0.75, 0.75)


def test_a_reference_judges_the_last_reply_and_agreement_compares_all() -> None:
    found = three_models.judged(
        teacher=[("Which order?", "It ships on Monday.")] * 12,
        baseline=[("It ships on Monday.", "No.")] * 12,
        distilled=[("What do you mean?", "It ships on Monday.")] * 12,
        references=[("It ships on Monday.",)] * 12,
        task=TALK,
    )
    assert found.arms.distilled.accuracy == found.arms.distilled.metrics["bleu"] == 1.0
    assert found.arms.distilled.agreement < 0.9
    assert found.arms.baseline.accuracy < 0.2


def test_latency_that_is_noise_is_not_compared() -> None:
    quiet, loud = (three_models.usual(control=three_models.noise(ratio=ratio), prices=True) for ratio in (1.1, 1.6))
    assert quiet.reductions.latency == pytest.approx(0.8)
    assert loud.reductions.latency is None
    assert quiet.reductions.cost is not None
    assert loud.reductions.cost is None, "a cost is a price times a time"
    assert loud.reductions.memory == quiet.reductions.memory


def test_invalid_answers_are_wrong_and_counted() -> None:
    said = ["yes"] * 30 + ["maybe"] * 6 + [None] * 4
    arm = three_models.usual(distilled=said).arms.distilled
    assert (arm.accuracy, arm.invalid_rate) == (0.75, 0.25)


def test_sizes_and_figures_are_each_models_own() -> None:
    found = three_models.usual()
    teacher, distilled = found.arms.teacher, found.arms.distilled
    assert (teacher.parameters, distilled.parameters) == (100, 10)
    assert (teacher.latency_seconds, distilled.latency_seconds) == (1.0, 0.2)
    assert found.reductions.latency == pytest.approx(0.8)
    assert found.reductions.memory == pytest.approx(0.9)


def test_cost_needs_prices() -> None:
    without, found = three_models.usual(), three_models.usual(prices=True)
    assert (without.arms.teacher.cost_per_thousand, without.reductions.cost) == (None, None)
    assert found.arms.teacher.cost_per_thousand == pytest.approx(8.0), "8 dollars an hour at 1,000 answers an hour"
    assert found.arms.distilled.cost_per_thousand == pytest.approx(0.2)
    assert found.reductions.cost == pytest.approx(1 - 0.2 / 8)


def test_across_different_hardware_only_memory_and_cost_compare() -> None:
    found = three_models.usual(prices=True, hardware="gpu").reductions
    assert found.latency is None
    assert found.memory == pytest.approx(0.9)
    assert found.cost == pytest.approx(1 - 0.2 / 8)


def test_labels_are_scored_each_by_its_records() -> None:
    references = [("yes",)] * 30 + [("no",)] * 10
    labels = three_models.usual(references=references).labels
    assert [label.model_dump() for label in labels] == [
        {"label": "no", "rows": 10, "teacher": 0.4, "baseline": 1.0, "distilled": 1.0},
        {"label": "yes", "rows": 30, "teacher": 1.0, "baseline": 0.4, "distilled": 1.0},
    ]


def test_seed_decides_the_resamples_and_nothing_else() -> None:
    fields = {
        "teacher": three_models.right(360, of=400),
        "baseline": three_models.right(120, of=400),
        "distilled": three_models.right(300, of=400, first=50),
        "references": [("yes",)] * 400,
    }
    one, again, other = (three_models.judged(**fields, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.comparison.ci95 != other.comparison.ci95
    assert one.arms == other.arms


@pytest.mark.parametrize("task", ["Classification", "NLI", "QA", "Conversation", "Math", "Summarization"])
def test_headline_of_each_task(task: str) -> None:
    labels = ("yes", "no") if task == "Classification" else None
    said = [{"NLI": "neutral", "Math": "42"}.get(task, "yes")] * 40
    found = three_models.judged(
        teacher=said, baseline=said, distilled=said, references=[(said[0],)] * 40, task=Task(type=task, labels=labels)
    )
    metrics = {
        "QA": ["exactMatch", "tokenF1"],
        "Conversation": ["chrf", "bleu"],
        "Math": ["mathMatch", "exactMatch"],
        "Summarization": ["rougeL", "rouge1", "rouge2"],
    }.get(task, ["accuracy", "macroF1"])
    headline = metrics[0]
    assert found.comparison.measure == headline
    assert list(found.arms.distilled.metrics) == metrics
    assert found.arms.distilled.metrics[headline] == found.arms.distilled.accuracy == pytest.approx(1.0)
    assert bool(found.labels) == (task in ("Classification", "NLI"))


def test_conversations_compare_all_their_turns() -> None:
    teacher, baseline = ("Good morning to you.", "It ships on Monday."), ("Good morning to you.", "No idea.")
    found = three_models.judged(
        teacher=[teacher] * 12, baseline=[baseline] * 12, distilled=[teacher] * 12, references=[()] * 12, task=TALK
    )
    assert found.arms.distilled.agreement == pytest.approx(1.0)
    assert 0.2 < found.arms.baseline.agreement < 0.9
    assert set(found.arms.distilled.metrics) == {"chrf", "bleu"}
    assert found.comparison.p_value < 0.01
    assert math.isclose(found.comparison.gap_closed, 1.0)


@pytest.mark.parametrize(
    ("task", "turns", "parsed"),
    [
        (three_models.LABELS, [("yes", "stop")], ("yes",)),
        (three_models.LABELS, [(" YES\n", "stop")], ("yes",)),
        (three_models.LABELS, [("yes, surely", "stop")], None),
        (three_models.LABELS, [("yes", "length")], None),
        (three_models.LABELS, [], None),
        (QUESTION, [(" Paris ", "stop")], ("Paris",)),
        (QUESTION, [("  ", "stop")], None),
        (TALK, [("Hello.", "stop"), ("Bye.", "stop")], ("Hello.", "Bye.")),
        (TALK, [("Hello.", "stop"), ("Bye.", "length")], None),
        (TALK, [("Hello.", "stop"), (" ", "stop")], None),
    ],
)
def test_answer_is_parsed_only_when_every_turn_is_finished_and_in_form(
    task: Task, turns: list[tuple[str, str]], parsed: tuple[str, ...] | None
) -> None:
    answer = Answer("key", tuple(Turn((), (), text, finish) for text, finish in turns))
    assert parse_replies(AnsweredRecord(Record("r", (Message("user", "?"),)), 0, answer), task=task) == parsed
