"""The gate: rules that give a reason why a student must not be exported, or None."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubedistill.contract.summaries import GateVerdict
from kubedistill.report.words import control_text, fields_of, is_agreement, words_of
from kubedistill.v1alpha1 import Gate

if TYPE_CHECKING:
    from kubedistill_runtime.evaluation.arms import Judgment


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate."""

    missed: "Callable[[Gate, Judgment], str | None]"
    """Why the student does not pass, or None."""
    needs_references: bool = False
    """Whether only test records with a reference can decide it."""


def _at_least(name: str, value: float | None, limit: float | None, field: str) -> str | None:
    if limit is None:
        return None
    if value is None:
        return f"{name} is not known, but {field} requires {limit:g}"
    return f"{name} {value:.4f} is below {field} {limit:g}" if value < limit else None


def _at_most(name: str, value: float | None, limit: float | None, field: str) -> str | None:
    if limit is None:
        return None
    if value is None:
        return f"{name} is not known, but {field} allows {limit:g}"
    return f"{name} {value:.4f} is above {field} {limit:g}" if value > limit else None


def _accuracy(gate: Gate, found: "Judgment") -> str | None:
    return _at_least("accuracy", found.arms.distilled.accuracy, gate.min_accuracy, "minAccuracy")


def _gain(gate: Gate, found: "Judgment") -> str | None:
    return _at_least("gain", _judged(found, found.comparison.gain), gate.min_gain, "minGain")


def _gap_closed(gate: Gate, found: "Judgment") -> str | None:
    gap_closed = _judged(found, found.comparison.gap_closed)
    return _at_least("gap closed", gap_closed, gate.min_gap_closed, "minGapClosed")


def _retention(gate: Gate, found: "Judgment") -> str | None:
    retention = _judged(found, found.comparison.retention)
    return _at_least("retention", retention, gate.min_retention, "minRetention")


def _judged(found: "Judgment", value: float | None) -> float | None:
    """Return a value that is based on references; None if it is agreement with the teacher."""
    return None if is_agreement(found.comparison) else value


def _latency(gate: Gate, found: "Judgment") -> str | None:
    if found.control is not None and found.control.noise:
        return None  # not checked, as _notes reports
    ratio, distilled, teacher = None, found.arms.distilled.latency_seconds, found.arms.teacher.latency_seconds
    if found.reductions.latency is not None:  # None for different hardware, where a ratio would mean nothing
        assert distilled is not None, "a reduction is known only if both times are"
        assert teacher is not None, "a reduction is known only if both times are"
        ratio = distilled / teacher
    return _at_most("latency ratio", ratio, gate.max_latency_ratio, "maxLatencyRatio")


def _invalid(gate: Gate, found: "Judgment") -> str | None:
    return _at_most("invalid rate", found.arms.distilled.invalid_rate, gate.max_invalid_rate, "maxInvalidRate")


def _significance(gate: Gate, found: "Judgment") -> str | None:
    refused = words_of(found.comparison).refused
    return refused.format(**fields_of(found.comparison)) if gate.require_significance and refused else None


# By the field of `Gate` that each of them reads.
RULES: dict[str, Rule] = {
    "min_accuracy": Rule(_accuracy, needs_references=True),
    "min_gain": Rule(_gain, needs_references=True),
    "min_gap_closed": Rule(_gap_closed, needs_references=True),
    "min_retention": Rule(_retention, needs_references=True),
    "max_latency_ratio": Rule(_latency),
    "max_invalid_rate": Rule(_invalid),
    "require_significance": Rule(_significance),
}


def decide(gate: Gate, found: "Judgment") -> GateVerdict:
    """Apply every rule, list all reasons, and note the limits that were not checked."""
    reasons = [reason for rule in RULES.values() if (reason := rule.missed(gate, found))]
    notes = _notes(gate, found)
    limits = [name for name in gate.limits if not (notes and name == "maxLatencyRatio")]
    return GateVerdict(passed=not reasons, reasons=reasons, limits=limits, notes=notes)


def _notes(gate: Gate, found: "Judgment") -> list[str]:
    if gate.max_latency_ratio is None or found.control is None or not found.control.noise:
        return []
    return [f"maxLatencyRatio {gate.max_latency_ratio:g} was not checked, because {control_text(found.control)}"]
