"""The gate: pure rules, each of which says why a student must not be exported, or nothing."""

from collections.abc import Callable

from kubedistill.report import GateVerdict
from kubedistill.v1alpha1 import Gate
from kubedistill_runtime.evaluation.arms import Judgement

Rule = Callable[[Gate, Judgement], str | None]


def _at_least(name: str, value: float | None, limit: float | None, field: str) -> str | None:
    if limit is None:
        return None
    if value is None:
        return f"{name} is not known, and {field} asks for {limit:g}"
    return f"{name} {value:.4f} is below {field} {limit:g}" if value < limit else None


def _at_most(name: str, value: float | None, limit: float | None, field: str) -> str | None:
    if limit is None:
        return None
    if value is None:
        return f"{name} is not known, and {field} allows {limit:g}"
    return f"{name} {value:.4f} is above {field} {limit:g}" if value > limit else None


def _accuracy(gate: Gate, found: Judgement) -> str | None:
    return _at_least("accuracy", found.arms.distilled.accuracy, gate.min_accuracy, "minAccuracy")


def _gain(gate: Gate, found: Judgement) -> str | None:
    return _at_least("gain", found.comparison.gain, gate.min_gain, "minGain")


def _gap_closed(gate: Gate, found: Judgement) -> str | None:
    return _at_least("gap closed", found.comparison.gap_closed, gate.min_gap_closed, "minGapClosed")


def _retention(gate: Gate, found: Judgement) -> str | None:
    return _at_least("retention", found.comparison.retention, gate.min_retention, "minRetention")


def _latency(gate: Gate, found: Judgement) -> str | None:
    saved = found.reductions.latency  # null across different hardware, where a ratio says nothing
    return _at_most("latency ratio", None if saved is None else 1 - saved, gate.max_latency_ratio, "maxLatencyRatio")


def _invalid(gate: Gate, found: Judgement) -> str | None:
    return _at_most("invalid rate", found.arms.distilled.invalid_rate, gate.max_invalid_rate, "maxInvalidRate")


def _significance(gate: Gate, found: Judgement) -> str | None:
    if not gate.require_significance or found.comparison.verdict == "better":
        return None
    return f"the student is {found.comparison.verdict} than the baseline (p = {found.comparison.p_value:.4f})".replace(
        "not distinguishable than", "not distinguishable from"
    )


RULES: tuple[Rule, ...] = (_accuracy, _gain, _gap_closed, _retention, _latency, _invalid, _significance)


def decide(gate: Gate, found: Judgement) -> GateVerdict:
    """Apply every rule; all reasons are listed."""
    reasons = [reason for rule in RULES if (reason := rule(gate, found))]
    return GateVerdict(passed=not reasons, reasons=reasons)
