"""The six stages, each a function of its context that can be killed and run again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import StageJob, Summary
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.keys import check_unchanged, resolve
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.storage.store import Store


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage works with: its job, every open choice made, and the storage, progress and engines to use."""

    job: StageJob
    choices: Choices
    store: Store
    progress: Progress
    engines: Engines

    @property
    def keys(self) -> dict[ArtifactName, str]:
        """The key of each artifact of the run."""
        return self.choices.keys


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a stage: a few figures, the same in words, and, from Prepare alone, the keys of all artifacts."""

    summary: Summary = field(default_factory=Summary)
    message: str = ""
    keys: dict[ArtifactName, str] = field(default_factory=dict)


StageFunction = Callable[[StageContext], Outcome]


def make_artifacts(job: StageJob, *, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Run the function of a job's stage.

    Raises InvalidInput, naming the field, if an open choice cannot be made or an input changed since Prepare.
    """
    choices = resolve(job, store=store)
    check_unchanged(job, choices)
    return stage_function(job.stage)(StageContext(job, choices, store, progress, engines))


def stage_function(name: StageName) -> StageFunction:
    """Import and return the function of a stage; each stage imports its own heavy libraries."""
    module = import_module(f"kubedistill_runtime.stages.{name.lower()}")
    run: StageFunction = module.run
    return run
