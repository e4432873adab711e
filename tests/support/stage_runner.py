"""Run stages one after another in this process, with an engine whose replies a test chooses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import StageJob, StageProgress
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.stages import Outcome, make_artifacts
from support.fake_engines import FunctionEngine, FunctionEngines
from support.job_folder import JobFolder


@dataclass(slots=True)
class StageRunner:
    """A job and its stages; `says` gives the reply to a prompt's last message."""

    job_folder: JobFolder
    chat: ChatFormat
    says: Callable[[str], str] = lambda text: "yes"
    engines: FunctionEngines = field(init=False)
    said: list[StageProgress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engines = FunctionEngines(FunctionEngine(reply=self._reply))

    def run(self, *stages: StageName) -> Outcome:
        """Run stages one after another; returns the last one's outcome."""
        keys = self.job_folder.keys()
        for name in stages:
            job = self.job_folder.stage_job(name, keys={} if name == "Prepare" else keys)
            outcome = self.work_on(job)
        return outcome

    def work_on(self, job: StageJob) -> Outcome:
        """Run the stage that a job names."""
        progress = Progress(self.said.append)
        return make_artifacts(job, store=self.job_folder.store, progress=progress, engines=self.engines)

    def artifact(self, name: ArtifactName) -> Path:
        return self.job_folder.store.path(f"artifacts/{name}/{self.job_folder.keys()[name]}")

    def _reply(self, prompt: Sequence[int], seed: int) -> list[int]:
        text = self.chat.tokenizer.decode(list(prompt)).removesuffix("<assistant>").removesuffix("<end>")
        ids: list[int] = self.chat.tokenizer.encode(self.says(text.rpartition(">")[2]), add_special_tokens=False)
        return ids
