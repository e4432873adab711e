"""Run a whole job in this process on a fake engine, and keep its events as a reader of its output has them."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubedistill.v1alpha1 import DistillationJob
from kubedistill_runtime import pipeline
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.pipeline import LocalRun, run_pipeline
from support.job_folder import QUICKSTART, JobFolder
from support.stage_runner import StageRunner


@dataclass(slots=True)
class PipelineRun:
    """A job on a fake engine, and the events of its last run."""

    runner: StageRunner
    name: str = "job"
    events: list[dict[str, Any]] = field(default_factory=list)
    today: datetime.date = datetime.date(2026, 11, 27)

    @property
    def job_folder(self) -> JobFolder:
        return self.runner.job_folder

    @property
    def folder(self) -> Path:
        return self.job_folder.store.path(f"runs/default.{self.name}/local")

    def manifest(self) -> str:
        head = {"apiVersion": "kubedistill.io/v1alpha1", "kind": "DistillationJob", "metadata": {"name": self.name}}
        return json.dumps({**head, "spec": self.job_folder.spec})

    def run(self) -> int:
        self.events.clear()
        job = DistillationJob.model_validate_json(self.manifest(), by_alias=True, by_name=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "LocalEngines", lambda **_: self.runner.engines)
            run = LocalRun(job, self.job_folder.root, self.job_folder.store, today=self.today)
            return run_pipeline(run, emit=lambda event: self.events.append(event.to_values()))

    def states(self) -> dict[str, str]:
        """Return the last state of each stage, in the order of their first."""
        return {event["stage"]: event["state"] for event in self.events if event["event"] == "stage"}


def small_run(job_folder: JobFolder, chat: ChatFormat) -> PipelineRun:
    """Return a job whose models are the quickstart's student, and whose student is exported."""
    for model in ("teachers.0.model.source", "student.model.source"):
        job_folder.set(model, str(QUICKSTART / "student"))
    job_folder.set("generation.maxTokens", 16)
    job_folder.set("training.epochs", 1)
    job_folder.set("evaluation.gate.requireSignificance", False)
    job_folder.set("export", [{"uri": "out"}])
    return PipelineRun(StageRunner(job_folder, chat))
