"""The chain: the stages of a run in order, and the artifacts that each stage creates and reads."""

from dataclasses import dataclass
from typing import Literal

StageName = Literal["Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"]
StagePhase = Literal["Preparing", "Generating", "Curating", "Training", "Evaluating", "Exporting"]
ArtifactName = Literal["rows", "answers", "judge", "dataset", "samples", "student", "report", "export"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name and phase, the artifacts that it creates and reads, and whether it needs accelerators."""

    name: StageName
    phase: StagePhase
    makes: tuple[ArtifactName, ...]
    needs: tuple[ArtifactName, ...]
    accelerated: bool


CHAIN: tuple[Stage, ...] = (
    Stage("Prepare", "Preparing", ("rows",), (), accelerated=False),
    Stage("Generate", "Generating", ("answers", "judge"), ("rows",), accelerated=True),
    Stage("Curate", "Curating", ("dataset", "samples"), ("rows", "answers", "judge"), accelerated=False),
    Stage("Train", "Training", ("student",), ("samples",), accelerated=True),
    Stage("Evaluate", "Evaluating", ("report",), ("rows", "judge", "dataset", "student"), accelerated=True),
    Stage("Export", "Exporting", ("export",), ("student", "report"), accelerated=False),
)
STAGES: dict[StageName, Stage] = {stage.name: stage for stage in CHAIN}
