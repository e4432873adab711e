"""Usage: what each stage of a run took, next to what it was estimated to take."""

from kubedistill.chain import StageName
from kubedistill.contract.estimates import StageEstimate
from kubedistill.contract.models import StoredModel
from kubedistill.report.estimates import duration_text

USAGE_HEADS = ("stage", "time", "GPU hours", "idle GPU hours", "dollars", "tokens")
"""The heads of the table; the estimates are in parentheses."""


class Usage(StoredModel):
    """What a stage took in all of its attempts in one run."""

    seconds: float
    gpu_hours: float
    idle_gpu_hours: float = 0.0
    """The part of gpu_hours in which nothing was generated or learned for 10 s or longer."""
    dollars: float | None = None
    """Null without prices."""
    tokens: int | None = None
    """Tokens that models generated or learned; null if they are not counted."""
    lost: int = 0
    """Attempts that left no result, and are not counted."""


class StageUsage(StoredModel):
    """One stage of a run."""

    stage: StageName
    estimated: StageEstimate | None = None
    """Null for a stage that is not estimated."""
    actual: Usage | None = None
    """Null if the store had all of its artifacts before the run."""
    is_over: bool = True
    """Whether the stage had ended when this was written."""


def usage_rows(usage: list[StageUsage]) -> list[tuple[str, ...]]:
    """Return the rows of the table, with the columns USAGE_HEADS; empty if nothing is known."""
    return [_row(one, one.estimated or StageEstimate(stage=one.stage)) for one in usage]


def usage_notes(usage: list[StageUsage]) -> list[str]:
    """Return what the figures leave out, as sentences without a period."""
    lost = {one.stage: one.actual.lost for one in usage if one.actual is not None and one.actual.lost}
    return [
        *(f"the time of {one.stage} is that until this report was written" for one in usage if not one.is_over),
        *(f"attempts at {stage} that left no result and do not count: {number}" for stage, number in lost.items()),
    ]


def _row(one: StageUsage, estimated: StageEstimate) -> tuple[str, ...]:
    if one.actual is None:
        return (one.stage, "reused", *[""] * (len(USAGE_HEADS) - 2))
    actual = one.actual
    return (
        one.stage,
        _cell(duration_text(actual.seconds), None if estimated.seconds is None else duration_text(estimated.seconds)),
        _cell(f"{actual.gpu_hours:,.1f}", _known("{:,.1f}", estimated.gpu_hours)),
        f"{actual.idle_gpu_hours:,.1f}",
        _cell(_known("${:,.2f}", actual.dollars), _known("${:,.2f}", estimated.dollars)),
        _cell(_known("{:,}", actual.tokens), f"{estimated.tokens:,}" if estimated.tokens else None),
    )


def _known(form: str, value: float | None) -> str | None:
    return None if value is None else form.format(value)


def _cell(actual: str | None, estimated: str | None) -> str:
    """Return a figure with its estimate in parentheses; a dash if it is not known."""
    return (actual or "-") + (f" ({estimated})" if estimated else "")
