"""The table at the end of every job, and its one sentence."""

import pytest

from kubedistill.report import Report
from kubedistill.report_table import (
    Line,
    headline,
    short_bytes,
    short_number,
    short_p,
    short_seconds,
    table_lines,
)


def changed(report: Report, **parts: dict) -> Report:
    """A report with some fields of its parts changed."""
    return report.model_copy(
        update={name: getattr(report, name).model_copy(update=fields) for name, fields in parts.items()}
    )


def with_arms(report: Report, **fields: object) -> Report:
    """A report with the same change in all three arms."""
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
        changed(
            report, comparison={"retention": None}, reductions={"latency": None, "memory": None, "cost": None}
        ),
        cost_per_thousand=None, accuracy=None,
    )  # fmt: skip
    lines = {line.name: line for line in table_lines(unknown)}
    assert lines["accuracy"] == Line("accuracy", "-", "-", "-", "-")
    assert lines["cost per 1,000 answers"] == Line("cost per 1,000 answers", "-", "-", "-", "")
    # Across different hardware neither time nor speed is compared.
    assert (lines["time per answer"].change, lines["answers per hour"].change) == ("", "")


def test_without_references_the_score_is_agreement(report: Report) -> None:
    lines = table_lines(changed(report, comparison={"measure": "agreement with the teacher"}))
    assert Line("agreement with the teacher", "100.0%", "45.0%", "85.0%", "89% kept") in lines


def test_more_is_said_where_it_is_more(report: Report) -> None:
    lines = {line.name: line for line in table_lines(changed(report, reductions={"memory": -0.25}))}
    assert lines["memory"].change == "25% more"


def test_teacher_without_throughput_gives_no_ratio(report: Report) -> None:
    assert table_lines(with_arms(report, throughput_per_hour=0.0))[4].change == ""


WENT = "accuracy went from 40.0% to 80.0% (teacher 90.0%)"
HEADLINES = {
    "better": ({}, f"{WENT}, 80% of the gap closed, p < 0.0001"),
    "worse": (
        {"verdict": "worse", "gap_closed": -0.1, "p_value": 0.0123},
        f"{WENT}, -10% of the gap closed, p = 0.0123",
    ),
    "no gap": ({"gap_closed": None, "p_value": 0.02}, f"{WENT}, p = 0.0200"),
    "not distinguishable": (
        {"verdict": "not distinguishable", "p_value": 0.5},
        f"{WENT}: not distinguishable from the untrained student (p = 0.5000)",
    ),
    "not distinguishable by a hair": (
        {"verdict": "not distinguishable", "p_value": 0.00001},
        f"{WENT}: not distinguishable from the untrained student (p < 0.0001)",
    ),
}


@pytest.mark.parametrize("case", HEADLINES)
def test_headline_says_what_came_out(case: str, report: Report) -> None:
    comparison, text = HEADLINES[case]
    assert headline(changed(report, comparison=comparison)) == text


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
        (short_p(0.5), "0.5000"), (short_p(0.0001), "0.0001"), (short_p(0.00009), "< 0.0001"),
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
