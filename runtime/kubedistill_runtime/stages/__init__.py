"""The six stages, each a function of (job, storage, progress, engines) that can be killed and run again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import StageJob, Summary
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.storage.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage leaves: a few figures, the same in words, and, from Prepare alone, the keys of all artifacts."""

    summary: Summary = field(default_factory=Summary)
    message: str = ""
    keys: dict[ArtifactName, str] = field(default_factory=dict)


StageFunction = Callable[[StageJob, Store, Progress, Engines], Outcome]


def stage_function(name: StageName) -> StageFunction:
    """The function of a stage; imported on demand, since each stage pulls in heavy libraries of its own."""
    module = import_module(f"kubedistill_runtime.stages.{name.lower()}")
    run: StageFunction = module.run
    return run
