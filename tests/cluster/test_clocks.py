"""Row A8 of docs/behavior.md with drivers whose clock is an hour wrong, on a real API server."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_kuberay.background import playing
from support.kube_api import Api
from support.operator_harness import OperatorHarness, open_harness


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    name = f"test-{secrets.token_hex(4)}"
    with (
        open_harness(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), name) as harness,
        playing(kubeconfig, namespace=name, scale=0.5),
    ):
        harness.submit("clock-behind-1")
        harness.submit("clock-ahead-silent-1", noProgressTimeoutSeconds=5)
        yield harness


def test_a8_a_driver_whose_clock_is_behind_ends_well(harness: OperatorHarness) -> None:
    """Its first report is older than noProgressTimeoutSeconds by its own clock."""
    harness.becomes("clock-behind-1", "Succeeded", seconds=300)
    generate = harness.stage("clock-behind-1", "Generate")
    assert (generate["attempt"], sum(generate["restarts"].values())) == (1, 0)
    assert generate["startedAt"] <= generate["progressedAt"] <= generate["endedAt"]
    assert generate["reportStamp"] < generate["startedAt"]


def test_a8_a_clock_that_is_ahead_hides_no_hang(harness: OperatorHarness) -> None:
    harness.becomes("clock-ahead-silent-1", "Succeeded", seconds=300)
    generate = harness.stage("clock-ahead-silent-1", "Generate")
    assert (generate["attempt"], generate["restarts"]["failure"]) == (2, 1)
    assert harness.tells("clock-ahead-silent-1", "AttemptFailed").count("AttemptFailed") == 1
