"""The table at the end of a job: teacher, baseline and distilled student side by side, for people."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kubedistill.report.models import Arm, Comparison, Report
from kubedistill.report.words import fields_of, is_agreement, words_of

NOT_KNOWN = "-"
HEADS = ("", "teacher", "before", "distilled", "against teacher")
"""The heads of the columns; the last one is `Line.change`."""
TEACHER_HEADS = ("teacher", "training answers", "kept", "test records", "accuracy", "time per answer", "cost per 1,000")
"""The heads of the table of several teachers."""
NOISE = "noise"
_DECIMAL = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table; change compares the distilled student with the teacher."""

    name: str
    teacher: str
    baseline: str
    distilled: str
    change: str


def table_lines(report: Report) -> list[Line]:
    """Return the rows of the table of a report; times of parts of an answer only if one of them is known."""
    arms, compared, saved = report.arms, report.comparison, report.reductions
    cells = [arms.teacher, arms.baseline, arms.distilled]
    score = _fraction_of(compared)
    noise = report.latency_control is not None and report.latency_control.noise

    def line(name: str, texts: list[str], change: str = "") -> Line:
        return Line(name, texts[0], texts[1], texts[2], change)

    kept = NOT_KNOWN if compared.retention is None else f"{compared.retention:.0%} kept"
    speed = NOISE if noise else _ratio(arms.distilled.throughput_per_hour, arms.teacher.throughput_per_hour)
    priced = None not in (arms.teacher.cost_per_thousand, arms.distilled.cost_per_thousand)
    cheaper = NOISE if noise and priced else _saving(saved.cost)
    fewer = _saving(_saved(arms.distilled.parameters, arms.teacher.parameters))
    same_hardware = arms.teacher.hardware == arms.distilled.hardware
    parts = {
        "time to first token": [arm.first_token_seconds for arm in cells],
        "time per output token": [arm.token_seconds for arm in cells],
    }
    return [
        line("parameters", [_known(short_number, arm.parameters) for arm in cells], fewer),
        line("memory", [_known(short_bytes, arm.memory_bytes) for arm in cells], _saving(saved.memory)),
        line(
            "time per answer",
            [_known(short_seconds, arm.latency_seconds) for arm in cells],
            NOISE if noise else _saving(saved.latency),
        ),
        *(
            line(name, [_known(short_seconds, one) for one in some])
            for name, some in parts.items()
            if some != [None] * len(cells)
        ),
        line(compared.measure, [percent_text(score(arm)) for arm in cells], kept),
        line(
            "answers per hour",
            [_known("{:,.0f}".format, arm.throughput_per_hour) for arm in cells],
            speed if same_hardware else "",
        ),
        line("cost per 1,000 answers", [_dollars(arm.cost_per_thousand) for arm in cells], cheaper),
    ]


def teacher_rows(report: Report) -> list[tuple[str, ...]]:
    """Return the rows of the table of several teachers, with the columns TEACHER_HEADS; empty if there is one."""
    return [
        (
            one.name,
            f"{one.asked:,} ({percent_text(one.share)})",
            f"{one.kept:,}",
            f"{one.tested:,}",
            percent_text(one.accuracy),
            _known(short_seconds, one.latency_seconds),
            _dollars(one.cost_per_thousand),
        )
        for one in report.teachers
    ]


def headline(report: Report) -> str:
    """Return one sentence about the result."""
    compared, arms = report.comparison, report.arms
    score = _fraction_of(compared)
    scores = {"before": arms.baseline, "after": arms.distilled, "teacher": arms.teacher}
    texts = {name: percent_text(score(arm)) for name, arm in scores.items()}
    sentence = words_of(compared).headline.format(**fields_of(compared), **texts)
    if compared.rows and compared.total_rows is not None and compared.rows != compared.total_rows:
        return f"{sentence} ({compared.rows:,} of {compared.total_rows:,} test records have a reference)"
    return sentence


def short_number(value: float) -> str:
    """Return a number in a short form, such as 671B, 295K or 12."""
    return next((f"{_digits(value / size)}{unit}" for size, unit in _DECIMAL if _rounded(value) >= size), f"{value:g}")


def short_bytes(value: float) -> str:
    """Return a size in a short form, such as 1.2 TiB, 60 GiB or 512 B."""
    return next((f"{_digits(value / size)} {unit}" for size, unit in _BYTES if _rounded(value) >= size), f"{value:g} B")


def short_seconds(value: float) -> str:
    """Return a time in a short form, such as 3.2 s or 48 ms."""
    return f"{_digits(value)} s" if _rounded(value) >= 1 else f"{_digits(value * 1000)} ms"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _digits(value: float) -> str:
    """Return a number with three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _fraction_of(compared: Comparison) -> Callable[[Arm], float | None]:
    """Return a function that returns the score of a model: accuracy, or agreement without references."""

    def score(arm: Arm) -> float | None:
        return arm.agreement if is_agreement(compared) else arm.accuracy

    return score


def _known(text: Callable[[float], str], value: float | None) -> str:
    return NOT_KNOWN if value is None else text(value)


def percent_text(value: float | None) -> str:
    """Return a fraction as a percentage with one decimal, or a dash if it is not known."""
    return _known("{:.1%}".format, value)


def _dollars(value: float | None) -> str:
    """Return dollars with four decimals, or with more if two digits need them, as for a small student."""
    if value is None:
        return NOT_KNOWN
    decimals = max(4, 1 - math.floor(math.log10(value))) if value > 0 else 4
    return f"${value:,.{decimals}f}"


def _saving(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0%} less" if value >= 0 else f"{-value:.0%} more"


def _saved(after: float | None, before: float | None) -> float | None:
    return None if after is None or not before else 1 - after / before


def _ratio(after: float | None, before: float | None) -> str:
    return f"{after / before:.1f}x" if after is not None and before else ""
