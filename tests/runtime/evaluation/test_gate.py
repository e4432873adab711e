"""The gate: every limit that is set must hold, and every one that does not is named."""

from typing import Any

import pytest

from kubedistill.report.words import gate_state
from kubedistill.v1alpha1 import Gate
from kubedistill_runtime.evaluation.arms import Judgment
from kubedistill_runtime.evaluation.gate import RULES, decide
from support import three_models

# Accuracy 0.75, gain 0.45, gap closed 0.75, retention 0.8333, latency ratio 0.2, nothing invalid, p < 0.0001.
GOOD = three_models.usual()
UNKNOWN_GAP = three_models.usual(teacher=three_models.right(14, of=40))
NO_TEACHER = three_models.usual(teacher=["no"] * 40)
NO_REFERENCES = three_models.usual(references=[()] * 40)
OTHER_HARDWARE = three_models.usual(hardware="gpu")
INVALID = three_models.usual(distilled=["yes"] * 30 + ["maybe"] * 10)
NOISE = three_models.usual(distilled=three_models.right(13, of=40))
WORSE = three_models.usual(distilled=["no"] * 40)
NOTHING = three_models.judged(teacher=[], baseline=[], distilled=[], references=[])
QUIET, LOUD = (three_models.usual(control=three_models.noise(ratio=ratio)) for ratio in (1.14, 1.62))
LOUD_ELSEWHERE = three_models.usual(control=three_models.noise(ratio=0.5), hardware="gpu")


@pytest.mark.parametrize(
    ("limits", "found", "reason"),
    [
        ({}, GOOD, None),
        ({"minAccuracy": 0.75}, GOOD, None),
        ({"minAccuracy": 0.76}, GOOD, "accuracy 0.7500 is below minAccuracy 0.76"),
        ({"minAccuracy": 0.1}, NO_REFERENCES, "accuracy is not known, but minAccuracy requires 0.1"),
        ({"minGain": 0.44}, GOOD, None),
        ({"minGain": 0.46}, GOOD, "gain 0.4500 is below minGain 0.46"),
        ({"minGapClosed": 0.74}, GOOD, None),
        ({"minGapClosed": 0.8}, GOOD, "gap closed 0.7500 is below minGapClosed 0.8"),
        ({"minGapClosed": -1.0}, UNKNOWN_GAP, "gap closed is not known, but minGapClosed requires -1"),
        ({"minRetention": 0.83}, GOOD, None),
        ({"minRetention": 0.84}, GOOD, "retention 0.8333 is below minRetention 0.84"),
        ({"minRetention": 0.0}, NO_TEACHER, "retention is not known, but minRetention requires 0"),
        ({"maxLatencyRatio": 0.21}, GOOD, None),
        ({"maxLatencyRatio": 0.19}, GOOD, "latency ratio 0.2000 is above maxLatencyRatio 0.19"),
        ({"maxLatencyRatio": 10.0}, OTHER_HARDWARE, "latency ratio is not known, but maxLatencyRatio allows 10"),
        ({"maxInvalidRate": 0.25}, INVALID, None),
        ({"maxInvalidRate": 0.2}, INVALID, "invalid rate 0.2500 is above maxInvalidRate 0.2"),
        ({"maxInvalidRate": 0.0}, GOOD, None),
        ({}, NOISE, "the student is not distinguishable from the baseline (p = 1.0000)"),
        ({}, WORSE, "the student is worse than the baseline (p = 0.0005)"),
        ({}, NOTHING, "no test record was evaluated"),
        ({"minGain": 0.0, "requireSignificance": False}, NOTHING, "gain is not known, but minGain requires 0"),
        (
            {"maxInvalidRate": 1.0, "requireSignificance": False},
            NOTHING,
            "invalid rate is not known, but maxInvalidRate allows 1",
        ),
        ({"maxLatencyRatio": 0.19}, QUIET, "latency ratio 0.2000 is above maxLatencyRatio 0.19"),
        ({"maxLatencyRatio": 0.19}, LOUD, None),
        ({"maxLatencyRatio": 0.19}, LOUD_ELSEWHERE, None),
        ({"requireSignificance": False}, NOISE, None),
        ({"requireSignificance": False}, WORSE, None),
    ],
)
def test_limit(limits: dict[str, Any], found: Judgment, reason: str | None) -> None:
    verdict = decide(Gate.model_validate(limits), found)
    assert verdict.reasons == ([reason] if reason else [])
    assert verdict.passed == (reason is None)


def test_every_missed_limit_is_listed() -> None:
    limits = {
        "minAccuracy": 1.0,
        "minGain": 1.0,
        "minGapClosed": 1.0,
        "minRetention": 2.0,
        "maxLatencyRatio": 0.01,
        "maxInvalidRate": 0.0,
    }
    verdict = decide(
        Gate.model_validate(limits), three_models.usual(distilled=[*three_models.right(12, of=40)[:-1], None])
    )
    assert not verdict.passed
    named = [*limits, "distinguishable"]
    assert len(verdict.reasons) == len(RULES) == len(named)
    assert all(name in reason for name, reason in zip(named, verdict.reasons, strict=True))


@pytest.mark.parametrize(
    ("limits", "named", "state"),
    [
        ({}, ["requireSignificance"], "passed"),
        ({"requireSignificance": False}, [], "not set"),
        ({"minGain": 0.0, "requireSignificance": False}, ["minGain"], "passed"),
        (
            {"maxInvalidRate": 0.0, "minAccuracy": 0.9},
            ["minAccuracy", "maxInvalidRate", "requireSignificance"],
            "failed",
        ),
    ],
)
def test_verdict_names_the_limits_that_are_set(limits: dict[str, Any], named: list[str], state: str) -> None:
    verdict = decide(Gate.model_validate(limits), GOOD)
    assert (verdict.limits, gate_state(verdict)) == (named, state)


NO_JUDGE = {"minGain": 0.1, "minRetention": 0.5, "minGapClosed": 0.1, "minAccuracy": 0.1}


@pytest.mark.parametrize("field", NO_JUDGE)
def test_agreement_with_the_teacher_passes_no_limit_that_needs_references(field: str) -> None:
    verdict = decide(Gate.model_validate({field: NO_JUDGE[field]}), NO_REFERENCES)
    assert not verdict.passed
    assert any(field in reason and "not known" in reason for reason in verdict.reasons)


def test_a_limit_is_compared_with_the_ratio_itself() -> None:
    """1 - (1 - 0.3) is more than 0.3 in floating point."""
    found = three_models.usual(latency_seconds=0.3)
    assert decide(Gate.model_validate({"maxLatencyRatio": 0.3}), found).passed


def test_a_gate_whose_only_limit_was_not_checked_does_not_say_that_it_passed() -> None:
    limits = {"maxLatencyRatio": 0.01, "requireSignificance": False}
    verdict = decide(Gate.model_validate(limits), LOUD)
    assert (verdict.passed, verdict.limits, gate_state(verdict)) == (True, [], "not checked")


@pytest.mark.parametrize(
    ("limits", "found", "noted"),
    [
        ({"maxLatencyRatio": 0.19}, LOUD, True),
        ({"maxLatencyRatio": 0.21}, LOUD, True),  # it would have passed, and still decides nothing
        ({"maxLatencyRatio": 0.21}, LOUD_ELSEWHERE, True),
        ({"maxLatencyRatio": 0.21}, QUIET, False),
        ({"maxLatencyRatio": 0.21}, GOOD, False),
        ({}, LOUD, False),
    ],
)
def test_latency_that_is_noise_decides_nothing_and_is_noted(
    limits: dict[str, Any], found: Judgment, *, noted: bool
) -> None:
    verdict = decide(Gate.model_validate(limits), found)
    assert verdict.passed
    assert [note.split()[:2] for note in verdict.notes] == (
        [["maxLatencyRatio", f"{limits['maxLatencyRatio']:g}"]] if noted else []
    )
