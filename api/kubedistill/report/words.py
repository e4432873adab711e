"""The words of a report: a table of the texts of headline, tile, Markdown and gate for each outcome."""

from dataclasses import dataclass
from typing import Literal

from kubedistill.contract.summaries import GateVerdict
from kubedistill.report.models import Comparison, Funnel, LatencyControl, Verdict

Outcome = Literal[
    "better", "teacher no better", "worse", "not distinguishable",
    "no references, better", "no references, worse", "no references, not distinguishable", "not judged",
]  # fmt: skip
LEAST_P = 0.0001
DROPPED = {
    "TooLong": "too long for the teacher",
    "Leaked": "also in the test or validation data",
    "Duplicate": "repeat another prompt",
    "Conflicting": "references contradict each other",
}
"""Why a record is dropped before generation, by the reason in report.data.dropped."""
REJECTED = {
    "Unanswered": "without an answer",
    "Declined": "declined by the endpoint's model",
    "Filtered": "removed by the endpoint's content filter",
    "PromptTooLong": "to a prompt too long for the endpoint",
    "PromptRejected": "to a prompt that the endpoint rejected",
    "EndpointFailed": "that the endpoint failed to give",
    "Unfinished": "cut off",
    "Empty": "empty",
    "Refusal": "only a refusal",
    "WrongFormat": "not in the task's form",
    "NoFinalAnswer": "without a final answer",
    "OtherScript": "in another script than the prompt",
    "NotShorter": "not shorter than the text",
    "TooManyWords": "longer than maxSummaryWords",
    "Repetition": "repetitive",
    "Duplicate": "equal to that of an equal record",
    "NearDuplicate": "to a near-duplicate of another prompt",
    "Unverified": "equal to no reference",
    "LongerTrace": "longer than another right one",
    "Outvoted": "not the most frequent one",
    "OtherTeacher": "of another teacher than the one that was kept",
    "Overrepresented": "beyond maxShare",
}
"""Why an answer is not kept, by the reason in report.data.rejected."""


@dataclass(frozen=True, slots=True)
class Words:
    """The texts for one outcome; names in braces are those of `fields_of`, and the scores in the headline."""

    headline: str
    figure: str
    """The number on the tile; `tile` is its description."""
    tile: str
    markdown: str
    gap: tuple[str, str] | None = None
    """A second tile about the gap between baseline and teacher; None if there is no such tile."""
    refused: str | None = None
    """Reason for which the gate fails if significance is required; None if the student passes."""


_WENT = "{measure} went from {before} to {after}"
_FELL = "{measure} fell from {before} to {after}"
_NO_REFERENCES = "no test record has a reference; "
_AGAINST = "points of {measure} against the untrained student, 95% interval {low} to {high}"
_LOST = "points of {measure} lost against the untrained student, 95% interval {low} to {high}"
_CHANCE = f"{_AGAINST}, {{p}}: this may be chance"
_GAINED_LINE = "Gain {gain} points, 95% interval {low} to {high}"
_LOST_LINE = "Loss of {lost} points, 95% interval {low} to {high}"
_CHANCE_LINE = "No measurable gain: {gain} points, 95% interval {low} to {high}"
_GAP = ("{gap_exact}", "of the gap between untrained student and teacher closed")
_NO_GAP = ("unknown", "how much of the gap is closed: the teacher is not measurably better than the untrained student")
_WORSE = "the student is worse than the baseline ({p})"
_SAME = "the student is not distinguishable from the baseline ({p})"

WORDS: dict[Outcome, Words] = {
    "better": Words(
        f"{_WENT} (teacher {{teacher}}), {{gap}} of the gap closed, {{p}}", "{gain}", _AGAINST, _GAINED_LINE, gap=_GAP
    ),
    "teacher no better": Words(
        f"{_WENT} (teacher {{teacher}}), {{p}}; the teacher is not measurably better than the untrained student",
        "{gain}", _AGAINST, _GAINED_LINE, gap=_NO_GAP,
    ),
    "worse": Words(
        f"{_FELL} (teacher {{teacher}}): the student lost {{lost}} points, {{p}}",
        "{lost}", _LOST, _LOST_LINE, refused=_WORSE,
    ),
    "not distinguishable": Words(
        f"{_WENT} (teacher {{teacher}}): not distinguishable from the untrained student ({{p}})",
        "{gain}", _CHANCE, _CHANCE_LINE, refused=_SAME,
    ),
    "no references, better": Words(f"{_NO_REFERENCES}{_WENT}, {{p}}", "{gain}", _AGAINST, _GAINED_LINE),
    "no references, worse": Words(
        f"{_NO_REFERENCES}{_FELL}: the student lost {{lost}} points, {{p}}",
        "{lost}", _LOST, _LOST_LINE, refused=_WORSE,
    ),
    "no references, not distinguishable": Words(
        f"{_NO_REFERENCES}{_WENT}: not distinguishable from the untrained student ({{p}})",
        "{gain}", _CHANCE, _CHANCE_LINE, refused=_SAME,
    ),
    "not judged": Words(
        "there was no test record to evaluate", "none", "of the test records could be evaluated",
        "No test record was evaluated", refused="no test record was evaluated",
    ),
}  # fmt: skip

_AGREED: dict[Verdict, Outcome] = {
    "better": "no references, better", "worse": "no references, worse",
    "not distinguishable": "no references, not distinguishable",
}  # fmt: skip
_GATE = {
    "passed": "gate passed", "failed": "gate failed", "not set": "no gate set", "not checked": "no limit was checked",
}  # fmt: skip


def words_of(compared: Comparison) -> Words:
    """Return the words of a comparison's outcome."""
    return WORDS[outcome_of(compared)]


def outcome_of(compared: Comparison) -> Outcome:
    """Return the outcome of a comparison, a row of the table."""
    if compared.gain is None:
        return "not judged"
    if is_agreement(compared):
        return _AGREED[compared.verdict]
    if compared.verdict == "better" and compared.gap_closed is None:
        return "teacher no better"
    return compared.verdict


def is_agreement(compared: Comparison) -> bool:
    """Return whether the scores are agreement with the teacher, because no record has a reference."""
    return compared.measure.startswith("agreement")


def fields_of(compared: Comparison) -> dict[str, str]:
    """Return the figures of a comparison that the texts contain, as strings."""
    points = 100 * (compared.gain or 0.0)
    low, high = compared.ci95 or (0.0, 0.0)
    gap = compared.gap_closed or 0.0
    return {
        "measure": compared.measure,
        "gain": f"{points:+.1f}",
        "lost": f"{-points:.1f}",
        "low": f"{100 * low:+.1f}",
        "high": f"{100 * high:+.1f}",
        "gap": f"{gap:.0%}",
        "gap_exact": f"{gap:.1%}",
        "p": p_text(compared.p_value),
    }


def p_text(value: float | None) -> str:
    """Return a p-value as text, such as p = 0.0123 or p < 0.0001."""
    if value is None:
        return "p not known"
    return f"p < {LEAST_P:.4f}" if value < LEAST_P else f"p = {value:.4f}"


def records_text(compared: Comparison) -> str:
    """Return how many test records are in the scores, and how many were left out."""
    total = compared.rows if compared.total_rows is None else compared.total_rows
    text = f"{compared.rows:,} test records"
    if is_agreement(compared):
        text = f"{compared.rows:,} test records, none with a reference"
    elif compared.rows != total:
        text = f"{compared.rows:,} of {total:,} test records have a reference"
    left_out = f"{compared.duplicates:,} more repeat the prompt of another and are left out"
    return f"{text}; {left_out}" if compared.duplicates else text


def answers_text(data: Funnel) -> str:
    """Return how many answers were kept, and what each filter rejected, the most frequent reason first."""
    text = f"{data.kept:,} of {data.asked:,} answers kept"
    reasons = sorted(data.rejected.items(), key=lambda item: (-item[1], item[0]))
    rejected = ", ".join(f"{count:,} {REJECTED.get(reason, reason)}" for reason, count in reasons if count)
    return f"{text}; rejected: {rejected}" if rejected else text


def diversity_text(data: Funnel) -> str | None:
    """Return the diversity of the kept answers, or None if it is not known."""
    if data.labels:
        label, count = max(data.labels.items(), key=lambda item: item[1])
        return f"{len(data.labels):,} labels among the kept answers, {count / data.kept:.1%} of them {label}"
    if data.distinct_pairs is None:
        return None
    return f"{data.distinct_pairs:.1%} of the pairs of adjacent words in the kept answers are different"


def gate_state(gate: GateVerdict) -> Literal["passed", "failed", "not set", "not checked"]:
    """Return whether the gate passed or failed, no limit was set, or none of the set limits could be checked."""
    if not gate.passed:
        return "failed"
    if gate.limits == []:
        return "not checked" if gate.notes else "not set"
    return "passed"


def gate_text(gate: GateVerdict) -> str:
    """Return the state of the gate in a few words, such as `gate passed`."""
    return _GATE[gate_state(gate)]


def gate_details(gate: GateVerdict) -> str:
    """Return what the gate checked, or why it failed; empty if neither is known."""
    return "; ".join(gate.reasons if not gate.passed else [", ".join(gate.limits or []), *gate.notes]).strip("; ")


def control_text(control: LatencyControl) -> str:
    """Return the result of the timed control as a sentence."""
    low, high = control.spread
    found = f"{control.ratio:.2f} times ({low:.2f} to {high:.2f} in {control.rounds} rounds)"
    if control.noise:
        return (
            f"latency is noise: the distilled student takes {found} the time of the same model before training, so "
            "no limit on latency is checked"
        )
    return f"the distilled student takes {found} the time of the student before training"
