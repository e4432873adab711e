"""What bench-scale makes of its measurements, and that it measures the stages on what it has written."""

import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import scale

    return scale


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.1, 2.0])
def test_the_exponent_of_a_power_is_found(exponent: float, scale: ModuleType) -> None:
    seconds = {tokens: 3.0 * tokens**exponent for tokens in (100, 200, 400, 800)}
    assert scale.fit_exponent(seconds) == pytest.approx(exponent)


GOOD = {"lost": 0, "curateExponent": 1.0, "readExponent": 1.1, "curateAnonGiB": 1.0, "readAnonGiB": 2.99}


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ({}, []),
        ({"lost": 1}, ["every answer is kept"]),
        ({"curateExponent": 1.11}, ["the cost of curate"]),
        ({"readAnonGiB": 3.0}, ["read holds"]),
        ({"curateAnonGiB": 15.5, "readExponent": 2.0}, ["curate holds", "the cost of read"]),
    ],
)
def test_every_claim_that_does_not_hold_is_named(found: dict[str, float], broken: list[str], scale: ModuleType) -> None:
    said = scale.broken_claims({**GOOD, **found})
    assert [claim.startswith(start) for claim, start in zip(said, broken, strict=True)] == [True] * len(broken)


def test_every_answer_is_kept_and_read_again_and_nothing_is_left(scale: ModuleType, tmp_path: Path) -> None:
    tokens, folder = 300 * scale.REPLY, tmp_path / "scale"
    costs = scale.measure_size(tokens, folder=folder)
    assert {stage: cost.count for stage, cost in costs.items()} == {"curate": 300, "read": 375}
    assert all(cost.cpu_seconds > 0 and cost.anonymous_bytes > 2**20 for cost in costs.values())
    assert not folder.exists()
