"""Replicas on a real cluster of declared GPUs, with real engines."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import replica_cluster
from support.replica_cluster import ROWS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("cluster"))
    command = [sys.executable, "-W", "ignore", "-m", replica_cluster.__name__, folder]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1200, cwd=Path(__file__).parents[2]
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    facts: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return facts


@pytest.mark.engine
def test_each_gpu_of_a_place_is_used_once_and_neighbors_are_in_one_node(found: dict[str, Any]) -> None:
    one, two = found["TP 4 x PP 2"], found["TP 4 x PP 4"]
    assert one["nodes"] == [0] * 8
    assert two["nodes"] == [0] * 8 + [1] * 8, "each group of 4 is inside a node"
    for place in (one, two):
        assert len(set(place["gpus"])) == len(place["gpus"])


@pytest.mark.engine
@pytest.mark.parametrize("case", ["one", "killed", "removed"])
def test_every_row_is_answered_and_stored_once(found: dict[str, Any], case: str) -> None:
    assert found[case]["disturbed"]
    assert len(found[case]["ids"]) == len(found[case]["stored"]) == len(set(found[case]["stored"])) == ROWS
    assert found[case]["stored"] == found["one"]["stored"]


@pytest.mark.engine
def test_two_replicas_give_the_tokens_of_one_engine_even_if_one_is_killed(found: dict[str, Any]) -> None:
    assert found["killed"]["ids"] == found["one"]["ids"]


@pytest.mark.engine
@pytest.mark.parametrize(("case", "replicas"), [("one", 1), ("killed", 2), ("removed", 2)])
def test_gpu_seconds_are_held_by_nodes_and_idle_but_for_replicas(
    found: dict[str, Any], case: str, replicas: int
) -> None:
    """Each replica uses one of 8 GPUs of a node, so all others are idle from the first second to the last."""
    one = found[case]
    most = 16 * one["seconds"]
    assert one["gpus"][0] == 16
    if case == "removed":
        assert one["gpus"][-1] == 8, "a lost node holds nothing"
        assert 8 / 16 * most < one["gpuSeconds"] < most
    else:
        assert one["gpuSeconds"] == pytest.approx(most, rel=0.01)
    busy = one["gpuSeconds"] - one["idleGpuSeconds"]
    assert 0 < busy <= replicas * one["seconds"] + 0.1


@pytest.mark.engine
def test_no_gpu_is_held_by_nobody(found: dict[str, Any]) -> None:
    assert [found[case]["groups"] for case in ("one", "killed", "removed")] == [1, 1, 1], "only that of the first"
    assert found["groups at the end"] == 0
