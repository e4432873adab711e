"""The table at the end of every job, and its one sentence."""

import re
from typing import get_args

import pytest

from kubedistill.report.models import LatencyControl, Report
from kubedistill.report.table import (
    Line,
    headline,
    short_bytes,
    short_number,
    short_seconds,
    table_lines,
)
from kubedistill.report.words import (
    WORDS,
    Outcome,
    control_text,
    fields_of,
    gate_details,
    gate_state,
    gate_text,
    outcome_of,
    p_text,
    records_text,
    words_of,
)


def changed(report: Report, **parts: dict) -> Report:
    """Return a report with some fields of its parts changed."""
    return report.model_copy(
        update={name: getattr(report, name).model_copy(update=fields) for name, fields in parts.items()}
    )


def with_arms(report: Report, **fields: object) -> Report:
    """Return a report with the same change in all three arms."""
    arms = {name: getattr(report.arms, name).model_copy(update=fields) for name in ("teacher", "baseline", "distilled")}
    return changed(report, arms=arms)


def test_table_compares_three_models(report: Report) -> None:
    assert table_lines(report) == [
        Line("parameters", "2.95M", "295K", "295K", "90% less"),
        Line("memory", "30 MiB", "3 MiB", "3 MiB", "90% less"),
        Line("time per answer", "120 ms", "12 ms", "12 ms", "90% less"),
        Line("accuracy", "90.0%", "40.0%", "80.0%", "89% kept"),
        Line("answers per hour", "120,000", "1,200,000", "1,200,000", "10.0x"),
        Line("cost per 1,000 answers", "$0.5000", "$0.0500", "$0.0500", "90% less"),
    ]


def test_what_is_not_known_is_a_dash_or_nothing(report: Report) -> None:
    unknown = with_arms(
        changed(report, comparison={"retention": None}, reductions={"latency": None, "memory": None, "cost": None}),
        cost_per_thousand=None,
        accuracy=None,
    )
    lines = {line.name: line for line in table_lines(unknown)}
    assert lines["accuracy"] == Line("accuracy", "-", "-", "-", "-")
    assert lines["cost per 1,000 answers"] == Line("cost per 1,000 answers", "-", "-", "-", "")
    assert lines["time per answer"].change == ""


def test_across_different_hardware_neither_time_nor_speed_is_compared(report: Report) -> None:
    teacher = report.arms.teacher.model_copy(update={"hardware": "gpu"})
    lines = {line.name: line for line in table_lines(changed(report, arms={"teacher": teacher}))}
    assert lines["answers per hour"].change == ""


def test_without_references_the_score_is_agreement(report: Report) -> None:
    lines = table_lines(changed(report, comparison={"measure": "agreement with the teacher"}))
    assert Line("agreement with the teacher", "100.0%", "45.0%", "85.0%", "89% kept") in lines


def test_more_is_said_where_it_is_more(report: Report) -> None:
    lines = {line.name: line for line in table_lines(changed(report, reductions={"memory": -0.25}))}
    assert lines["memory"].change == "25% more"


def test_teacher_without_throughput_gives_no_ratio(report: Report) -> None:
    assert table_lines(with_arms(report, throughput_per_hour=0.0))[4].change == ""


@pytest.mark.parametrize("noise", [False, True])
def test_times_of_the_parts_of_an_answer_are_shown_and_noise_is_named(*, noise: bool, report: Report) -> None:
    control = LatencyControl(rounds=5, output_tokens=32, ratio=1.6, spread=(1.4, 1.9), noise=noise)
    arms = {"teacher": report.arms.teacher.model_copy(update={"first_token_seconds": 0.08, "token_seconds": 0.0025})}
    known = changed(report, arms=arms).model_copy(update={"latency_control": control})
    lines = {line.name: line for line in table_lines(known)}
    assert lines["time per answer"].change == ("noise" if noise else "90% less")
    assert lines["answers per hour"].change == ("noise" if noise else "10.0x"), "it is made of times too"
    assert lines["cost per 1,000 answers"].change == ("noise" if noise else "90% less")
    assert lines["time to first token"] == Line("time to first token", "80 ms", "-", "-", "")
    assert lines["time per output token"] == Line("time per output token", "2.5 ms", "-", "-", "")
    assert ("latency is noise" in control_text(control)) == noise
    assert "1.60 times (1.40 to 1.90 in 5 rounds)" in control_text(control)


WENT, FELL = (f"accuracy {verb} from 40.0% to 80.0% (teacher 90.0%)" for verb in ("went", "fell"))
AGREED, DISAGREED = (
    f"no test record has a reference; agreement with the teacher {verb} from 45.0% to 85.0%"
    for verb in ("went", "fell")
)
AGREEMENT = {"measure": "agreement with the teacher"}
HEADLINES = {
    "better": ({}, "better", f"{WENT}, 80% of the gap closed, p < 0.0001"),
    "better than the teacher": ({"gap_closed": 1.2}, "better", f"{WENT}, 120% of the gap closed, p < 0.0001"),
    "worse": (
        {"verdict": "worse", "gap_closed": -0.4, "gain": -0.1, "p_value": 0.0123},
        "worse", f"{FELL}: the student lost 10.0 points, p = 0.0123",
    ),
    "worse, and no gap": (
        {"verdict": "worse", "gap_closed": None, "gain": -0.004, "p_value": 0.04},
        "worse", f"{FELL}: the student lost 0.4 points, p = 0.0400",
    ),
    "teacher no better": (
        {"gap_closed": None, "p_value": 0.02}, "teacher no better",
        f"{WENT}, p = 0.0200; the teacher is not measurably better than the untrained student",
    ),
    "not distinguishable": (
        {"verdict": "not distinguishable", "p_value": 0.5, "gap_closed": -0.4}, "not distinguishable",
        f"{WENT}: not distinguishable from the untrained student (p = 0.5000)",
    ),
    "not distinguishable by a hair": (
        {"verdict": "not distinguishable", "p_value": 0.00001}, "not distinguishable",
        f"{WENT}: not distinguishable from the untrained student (p < 0.0001)",
    ),
    "no references": (AGREEMENT, "no references, better", f"{AGREED}, p < 0.0001"),
    "no references, worse": (
        {**AGREEMENT, "verdict": "worse", "gain": -0.4}, "no references, worse",
        f"{DISAGREED}: the student lost 40.0 points, p < 0.0001",
    ),
    "no references, not distinguishable": (
        {**AGREEMENT, "verdict": "not distinguishable", "p_value": 0.06}, "no references, not distinguishable",
        f"{AGREED}: not distinguishable from the untrained student (p = 0.0600)",
    ),
    "some references": (
        {"total_rows": 1100}, "better",
        f"{WENT}, 80% of the gap closed, p < 0.0001 (1,000 of 1,100 test records have a reference)",
    ),
    "nothing judged": (
        {"gain": None, "rows": 0, "total_rows": 0}, "not judged", "there was no test record to evaluate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADLINES)
def test_headline_says_what_came_out(case: str, report: Report) -> None:
    comparison, outcome, text = HEADLINES[case]
    found = changed(report, comparison=comparison)
    assert (outcome_of(found.comparison), headline(found)) == (outcome, text)


def test_every_outcome_has_words_and_a_case() -> None:
    outcomes = {outcome for _, outcome, _ in HEADLINES.values()}
    assert outcomes == WORDS.keys() == set(get_args(Outcome))


@pytest.mark.parametrize("case", HEADLINES)
def test_words_of_an_outcome_fit_its_numbers(case: str, report: Report) -> None:
    """A loss is never a share of a gap and never refuses for chance; only better passes a test of significance."""
    compared = changed(report, comparison=HEADLINES[case][0]).comparison
    words, fields = words_of(compared), fields_of(compared)
    said = [words.figure, words.tile, words.markdown, words.refused or "", *(words.gap or ())]
    texts = [text.format(**fields) for text in said]
    assert (words.refused is None) == (compared.verdict == "better" and compared.gain is not None)
    assert not re.search(r"-[0-9.]+%", " ".join(texts))
    if compared.verdict == "worse":
        assert "lost" in texts[1]
        assert words.gap is None


@pytest.mark.parametrize(
    ("comparison", "text"),
    [
        ({}, "1,000 test records"),
        ({"total_rows": 1000}, "1,000 test records"),
        ({"total_rows": 1100}, "1,000 of 1,100 test records have a reference"),
        (AGREEMENT, "1,000 test records, none with a reference"),
        ({"duplicates": 3}, "1,000 test records; 3 more repeat the prompt of another and are left out"),
    ],
)
def test_share_of_records_that_are_judged_is_said(comparison: dict, text: str, report: Report) -> None:
    assert records_text(changed(report, comparison=comparison).comparison) == text


@pytest.mark.parametrize(
    ("verdict", "state", "text", "details"),
    [
        ({}, "passed", "gate passed", ""),  # of a report that does not name its limits
        ({"limits": []}, "not set", "no gate set", ""),
        ({"limits": ["minGain", "requireSignificance"]}, "passed", "gate passed", "minGain, requireSignificance"),
        ({"limits": ["maxLatencyRatio"], "notes": ["noise"]}, "passed", "gate passed", "maxLatencyRatio; noise"),
        ({"passed": False, "reasons": ["a", "b"], "limits": ["minGain"]}, "failed", "gate failed", "a; b"),
    ],
)
def test_gate_message_names_the_checked_limits(
    verdict: dict, state: str, text: str, details: str, report: Report
) -> None:
    gate = report.gate.model_copy(update=verdict)
    assert (gate_state(gate), gate_text(gate), gate_details(gate)) == (state, text, details)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (short_number(0), "0"), (short_number(12), "12"), (short_number(999), "999"), (short_number(1_000), "1K"),
        (short_number(295_392), "295K"), (short_number(2_558_400), "2.56M"), (short_number(671e9), "671B"),
        (short_number(1.5e12), "1.5T"), (short_number(999_999), "1M"), (short_number(999_999_999), "1B"),
        (short_bytes(512), "512 B"), (short_bytes(2**20), "1 MiB"), (short_bytes(1.5 * 2**30), "1.5 GiB"),
        (short_bytes(60 * 2**30), "60 GiB"), (short_bytes(1.25 * 2**40), "1.25 TiB"),
        (short_bytes(1023 * 2**20), "1023 MiB"), (short_bytes(999.9 * 2**10), "1000 KiB"),
        (short_seconds(0.048), "48 ms"), (short_seconds(1.0), "1 s"), (short_seconds(3.21), "3.21 s"),
        (short_seconds(1234.5), "1234 s"), (short_seconds(0.00005), "0.05 ms"), (short_seconds(0.9999), "1 s"),
        (p_text(0.5), "p = 0.5000"), (p_text(0.0001), "p = 0.0001"), (p_text(0.00009), "p < 0.0001"),
        (p_text(None), "p not known"),
    ],
)  # fmt: skip
def test_number_is_short_and_never_in_powers_of_ten(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (12_345.678, "$12,345.6780"),
        (0.05, "$0.0500"),
        (0.00081, "$0.00081"),
        (0.0000213, "$0.000021"),
        (0.0, "$0.0000"),
    ],
)
def test_cost_is_never_rounded_to_nothing(cost: float, text: str, report: Report) -> None:
    assert table_lines(with_arms(report, cost_per_thousand=cost))[5].distilled == text
