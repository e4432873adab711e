"""The figures of several teachers as one arm."""

import pytest

from kubedistill_runtime.evaluation.figures import ModelFigures, Part, combine

LARGE = ModelFigures(
    hardware="h100", parameters=70, memory_bytes=140, peak_memory_bytes=150, latency_seconds=2.0,
    latency_p95_seconds=3.0, throughput_per_hour=100.0, cost_per_thousand=10.0,
)  # fmt: skip
SMALL = ModelFigures(
    hardware="h100", parameters=8, memory_bytes=16, peak_memory_bytes=20, latency_seconds=1.0, cost_per_thousand=2.0
)
FAR = ModelFigures(hardware="large (OpenAI)", latency_seconds=4.0, cost_per_thousand=20.0)
ONE, OTHERS, ALL = frozenset("1"), frozenset("234"), frozenset("1234")
NONE = frozenset[str]()
CASES = {
    # parts -> parameters, time, cost and hardware
    "routed": ([Part(LARGE, ONE, "a"), Part(SMALL, OTHERS, "b")], (78, 1.25, 4.0, "h100")),
    "one model twice": ([Part(SMALL, ONE, "b"), Part(SMALL, frozenset("2"), "b")], (8, 1.0, 2.0, "h100")),
    "an endpoint too": (
        [Part(LARGE, ONE, "a"), Part(FAR, frozenset("2"), "c")], (None, 3.0, 15.0, "h100 + large (OpenAI)"),
    ),
    "all answer": ([Part(LARGE, ALL, "a"), Part(SMALL, ALL, "b")], (78, 2.0, 12.0, "h100")),
    "one alone, the others together": (
        [Part(FAR, ONE, "c"), Part(LARGE, OTHERS, "a"), Part(SMALL, OTHERS, "b")],
        (None, 2.5, 14.0, "large (OpenAI) + h100"),
    ),
    "no record": ([Part(LARGE, NONE, "a"), Part(SMALL, NONE, "b")], (78, 1.5, 6.0, "h100")),
    "nobody knows the time": (
        [Part(LARGE, ALL, "a"), Part(ModelFigures(hardware="x"), ALL, "b")], (None, None, None, "h100 + x"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_figures_of_several_teachers(case: str) -> None:
    parts, (parameters, seconds, cost, hardware) = CASES[case]
    found = combine(parts)
    assert (found.parameters, found.hardware) == (parameters, hardware)
    assert found.latency_seconds == (None if seconds is None else pytest.approx(seconds))
    assert found.cost_per_thousand == (None if cost is None else pytest.approx(cost))
    assert (found.throughput_per_hour, found.latency_p95_seconds) == (None, None), "they can't be combined"
