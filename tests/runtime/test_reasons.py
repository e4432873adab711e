"""The contract of reasons: every one that a stage can raise, and no other, goes through a result to the operator."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedistill import errors
from kubedistill.chain import STAGES
from kubedistill.contract.artifacts import Figures
from kubedistill.errors import KubedistillError
from kubedistill.reasons import REASONS
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_runtime import driver
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.storage.artifacts import publish
from support.fake_cluster import FakeCluster, begin, reason_of, stage_of
from support.fake_engines import FunctionEngines
from support.job_folder import JobFolder

RUNTIME = Path(__file__).parents[2] / "runtime" / "kubedistill_runtime"
NO_STAGE = ("__main__.py", "channel", "pipeline.py", "preview.py", "spending.py", "validation.py")
"""What no stage calls, or what tells the result: its errors end the driver, and no result says so."""
RESTARTS = ("failure", "infrastructure", "preemption")


def raised() -> dict[str, type[KubedistillError]]:
    """Return every error of the tree that is made anywhere a stage goes, by its reason."""
    return {kind.reason: kind for path in RUNTIME.rglob("*.py") if not _is_outside(path) for kind in _made_in(path)}


def _is_outside(path: Path) -> bool:
    return path.relative_to(RUNTIME).parts[0] in NO_STAGE


def _made_in(path: Path) -> Iterator[type[KubedistillError]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id != "isinstance":
            for name in (node.func, *node.args):  # a class is called here, or handed on to where it is
                kind = getattr(errors, getattr(name, "id", ""), None) or getattr(driver, getattr(name, "id", ""), None)
                if isinstance(kind, type) and issubclass(kind, KubedistillError):
                    yield kind


def tell(error: Exception, *, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the result of a stage that raises, as its driver writes it."""
    keys = job_folder.keys()
    for name in STAGES["Generate"].needs:
        publish(job_folder.store, name, keys[name], Figures())

    def work_on(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(driver, "make_artifacts", work_on)
    channel, job = FileChannel(job_folder.root / "attempt"), job_folder.stage_job("Generate", keys=keys)
    driver.run_stage(job, store=job_folder.store, channel=channel, engines=FunctionEngines(), driver="d1")
    return (channel.folder / "result.json").read_text()


def test_what_a_stage_can_raise_is_known() -> None:
    """A new one has to be thought of here, and in the table."""
    assert set(raised()) == {
        "ArtifactMissing",
        "BadCredentials",
        "EndpointUnavailable",
        "EngineLost",
        "HubUnavailable",
        "InvalidData",
        "InvalidInput",
        "InvalidManifest",
        "InvalidModel",
        "LowYield",
        "MissingDependency",
        "ModelDoesNotFit",
        "QuotaExhausted",
        "Stopped",
        "StorageNotWritable",
        "StorageUnavailable",
        "TokenizerMismatch",
        "TooFewGPUs",
        "TrainingFailed",
        "UserCodeError",
    }


@pytest.mark.parametrize("reason", sorted(raised()))
def test_a_reason_costs_what_the_table_says(
    reason: str, job_folder: JobFolder, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tell(raised()[reason]("it broke", at="here", fix="Fix it"), job_folder=job_folder, monkeypatch=monkeypatch)
    name = begin(fake, "Generate")
    fake.run_child(name)
    fake.settle()
    data = {"owner": fake.channels[name].owner, "starts": "1", "result.json": told}
    found = read_channel({"data": data})
    assert not found.problem
    fake.channels[name] = replace(fake.channels[name], result=found.result)
    fake.end_child(name)
    fake.settle()
    run, stage, cause = fake.status.run, stage_of(fake, "Generate"), REASONS[reason].cause
    assert run is not None
    charged = {budget: getattr(stage.restarts, budget) for budget in RESTARTS}
    if cause == "user":
        assert reason_of(fake, "Failed") == ("True", reason)
        assert "here: it broke. Fix it" in fake.status.message
        assert charged == dict.fromkeys(RESTARTS, 0)
        return
    assert fake.status.phase not in ("Failed", "Succeeded")
    budget = "preemption" if reason == "Stopped" else cause  # nobody asked it to, so its pod had to leave
    assert charged == {**dict.fromkeys(RESTARTS, 0), **({budget: 1} if budget in RESTARTS else {})}
    assert run.rebuilt is (reason == "ArtifactMissing")


@pytest.fixture
def fake() -> FakeCluster:
    return FakeCluster()
