"""The contract of reasons: every one that a stage can raise, and no other, goes through a result to the operator."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import FunctionEngines
from kubedistill import errors
from kubedistill.chain import STAGES
from kubedistill.errors import KubedistillError
from kubedistill.reasons import REASONS
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_runtime import driver
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.storage.artifacts import publish
from workshop import Workshop
from world import World, begin, reason_of, stage_of

RUNTIME = Path(__file__).parents[2] / "runtime" / "kubedistill_runtime"
NO_STAGE = ("__main__.py", "channel", "pipeline.py", "preview.py", "validation.py")
"""What no stage calls, or what tells the result: its errors end the driver, and no result says so."""
RESTARTS = ("failure", "infrastructure", "preemption")


def raised() -> dict[str, type[KubedistillError]]:
    """Every error of the tree that is made anywhere a stage goes, by its reason."""
    return {kind.reason: kind for path in RUNTIME.rglob("*.py") if not _is_outside(path) for kind in _made_in(path)}


def _is_outside(path: Path) -> bool:
    return path.relative_to(RUNTIME).parts[0] in NO_STAGE


def _made_in(path: Path) -> Iterator[type[KubedistillError]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = getattr(errors, node.func.id, None) or getattr(driver, node.func.id, None)
            if isinstance(kind, type) and issubclass(kind, KubedistillError):
                yield kind


def tell(error: Exception, *, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """The result of a stage that raises, as its driver writes it."""
    keys = workshop.keys()
    for name in STAGES["Generate"].needs:
        publish(workshop.store, name, keys[name], {})

    def stage(*_: object) -> Any:
        raise error

    monkeypatch.setattr(driver, "stage_function", lambda name: stage)
    channel, job = FileChannel(workshop.root / "attempt"), workshop.stage_job("Generate", keys=keys)
    driver.run_stage(job, store=workshop.store, channel=channel, engines=FunctionEngines(), driver="d1")
    return (channel.folder / "result.json").read_text()


def test_what_a_stage_can_raise_is_known() -> None:
    """A new one has to be thought of here, and in the table."""
    assert set(raised()) == {
        "ArtifactMissing",
        "BadCredentials",
        "EngineLost",
        "InvalidData",
        "InvalidInput",
        "InvalidManifest",
        "InvalidModel",
        "LowYield",
        "MissingDependency",
        "ModelDoesNotFit",
        "Stopped",
        "StorageNotWritable",
        "StorageUnavailable",
        "TokenizerMismatch",
        "TrainingFailed",
        "UserCodeError",
    }


@pytest.mark.parametrize("reason", sorted(raised()))
def test_a_reason_costs_what_the_table_says(
    reason: str, workshop: Workshop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tell(raised()[reason]("it broke", at="here", fix="Fix it"), workshop=workshop, monkeypatch=monkeypatch)
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    data = {"owner": world.channels[name].owner, "starts": "1", "result.json": told}
    found = read_channel({"data": data}, now=world.now)
    assert not found.problem
    world.channels[name] = replace(world.channels[name], result=found.result)
    world.end_child(name)
    world.settle()
    run, stage, cause = world.status.run, stage_of(world, "Generate"), REASONS[reason].cause
    assert run is not None
    charged = {budget: getattr(stage.restarts, budget) for budget in RESTARTS}
    if cause == "user":
        assert reason_of(world, "Failed") == ("True", reason)
        assert "here: it broke. Fix it" in world.status.message
        assert charged == dict.fromkeys(RESTARTS, 0)
        return
    assert world.status.phase not in ("Failed", "Succeeded")
    budget = "preemption" if reason == "Stopped" else cause  # nobody asked it to, so its pod had to leave
    assert charged == {**dict.fromkeys(RESTARTS, 0), **({budget: 1} if budget in RESTARTS else {})}
    assert run.rewound is (reason == "ArtifactMissing")


@pytest.fixture
def world() -> World:
    return World()
