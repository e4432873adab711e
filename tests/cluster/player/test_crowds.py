"""Hundreds of children at once, an API server that restarts, and a player that is killed: every child still ends."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.control_plane import ControlPlane
from support.kube_api import wait_for

TESTS = Path(__file__).parents[2]
STAGES = ("Generate", "Curate", "Train")


def ended(workplace: Any) -> int:
    """Return how many children have come to an end that is theirs."""
    ray_jobs = workplace.api.list("ray.io/v1/RayJob", namespace=workplace.namespace)
    jobs = workplace.api.list("batch/v1/Job", namespace=workplace.namespace)
    conditions = [{one["type"] for one in (job.get("status") or {}).get("conditions", [])} for job in jobs]
    return sum((one.get("status") or {}).get("jobDeploymentStatus") == "Complete" for one in ray_jobs) + sum(
        "Complete" in one for one in conditions
    )


def results(workplace: Any) -> list[dict[str, Any]]:
    maps = workplace.api.list("v1/ConfigMap", namespace=workplace.namespace)
    return [json.loads(one["data"]["result.json"]) for one in maps if "result.json" in (one.get("data") or {})]


def test_two_hundred_children_live_at_once(make_workplace: Callable[..., Any]) -> None:
    workplace = make_workplace()
    stages = itertools.cycle(STAGES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job: workplace.child(f"ok-{job[0]}", stage=job[1]), zip(range(200), stages, strict=False)))
    wait_for(lambda: ended(workplace) == 200, what="all have ended", seconds=180)
    assert [one["outcome"] for one in results(workplace)] == ["Succeeded"] * 200
    assert len(workplace.journal.of("Submitted")) == 200


@pytest.mark.own_plane
def test_a_restart_of_the_api_server_ends_no_child_otherwise(
    control_plane: ControlPlane, make_workplace: Callable[..., Any]
) -> None:
    workplace = make_workplace(scale=0.3)
    children = [workplace.child(f"ok-{number}", stage=STAGES[number % 3]) for number in range(12)]
    wait_for(lambda: workplace.journal.of("Submitted"), what="some have begun")
    control_plane.restart_server(gently=False)
    wait_for(lambda: ended(workplace) == 12, what="all have ended", seconds=120)
    assert [one["outcome"] for one in results(workplace)] == ["Succeeded"] * 12
    assert {child.channel["starts"] for child in children} == {"1"}


@pytest.fixture
def start_player(kubeconfig: Path, namespace: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start the player's command line."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "support.fake_kuberay",
            "--kubeconfig",
            str(kubeconfig),
            "--namespace",
            namespace,
        ]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        started.append(subprocess.Popen([*command, "--time-scale", "0.05"], env=environment, text=True))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_player_that_was_killed_continues_where_the_cluster_is(
    make_child: Callable[..., Any], start_player: Callable[[], subprocess.Popen[str]]
) -> None:
    first = start_player()
    ray_job, job = make_child("slow-1", stage="Train"), make_child("silent-1")
    wait_for(lambda: ray_job.state[1] == job.state[1] == "RUNNING", what="both run", seconds=60)
    first.kill()
    first.wait()
    second = start_player()
    wait_for(lambda: ray_job.channel["starts"] == "2", what="a second driver has claimed", seconds=60)
    ray_job.delete()
    wait_for(lambda: ray_job.object is None and not ray_job.pods, what="it is gone with its pods", seconds=60)
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0
    assert job.object is not None
    assert "finalizers" not in job.object["metadata"], "what leaves takes its finalizer along"
