"""The chain: the stages of a run in their order, and the artifacts that each one makes and needs."""

from dataclasses import dataclass
from typing import Literal

StageName = Literal["Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"]
ArtifactName = Literal["rows", "answers", "judge", "dataset", "samples", "student", "report", "export"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the artifacts it makes, the ones it reads, and whether it needs accelerators."""

    name: StageName
    makes: tuple[ArtifactName, ...]
    needs: tuple[ArtifactName, ...]
    accelerated: bool


CHAIN: tuple[Stage, ...] = (
    Stage("Prepare", ("rows",), (), accelerated=False),
    Stage("Generate", ("answers", "judge"), ("rows",), accelerated=True),
    Stage("Curate", ("dataset", "samples"), ("rows", "answers", "judge"), accelerated=False),
    Stage("Train", ("student",), ("samples",), accelerated=True),
    Stage("Evaluate", ("report",), ("rows", "judge", "dataset", "student"), accelerated=True),
    Stage("Export", ("export",), ("student", "report"), accelerated=False),
)
STAGES: dict[StageName, Stage] = {stage.name: stage for stage in CHAIN}
