"""A student that is there without having been trained, and its evaluation."""

import json
import shutil
from typing import Any

from kubedistill.contract import Pools, Prices
from kubedistill.contract.artifacts import StudentFigures
from kubedistill_runtime.storage.artifacts import publish
from support.job_folder import QUICKSTART
from support.stage_runner import StageRunner


def with_student(runner: StageRunner) -> StageRunner:
    """Return a bench whose student is there: a copy of the quickstart's, saved by another version."""
    runner.run("Prepare", "Generate", "Curate")
    folder, key = runner.artifact("student"), runner.job_folder.keys()["student"]
    shutil.copytree(QUICKSTART / "student", folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps({**config, "transformers_version": "0"}))
    (folder / "curve.json").write_text(json.dumps({"train": [], "validation": [], "bestStep": 1}))
    trained = {"steps": 1, "best_step": 1, "validation_loss": 1.0, "objective": "CachedLogits", "samples": 40}
    figures = StudentFigures(**trained, overlong=0, without_logprobs=0, workers=1)
    publish(runner.job_folder.store, "student", key, figures)
    runner.engines.opened = 0
    return runner


def evaluate(runner: StageRunner, *, pools: Pools = Pools(), prices: Prices = Prices()) -> dict[str, Any]:  # noqa: B008
    """Make the report; one that is there is removed, as another evaluation would have another key."""
    shutil.rmtree(runner.artifact("report"), ignore_errors=True)
    job = runner.job_folder.stage_job("Evaluate", keys=runner.job_folder.keys())
    job = job.model_copy(update={"pools": pools, "prices": prices})
    runner.work_on(job)
    report: dict[str, Any] = json.loads((runner.artifact("report") / "report.json").read_text())
    return report
