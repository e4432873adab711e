"""The chain: the stages of a run in order, and the artifacts that each stage creates and reads."""

from dataclasses import dataclass
from typing import Literal

StageName = Literal["Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"]
StagePhase = Literal["Preparing", "Generating", "Curating", "Training", "Evaluating", "Exporting"]
ArtifactName = Literal["rows", "answers", "judge", "dataset", "samples", "student", "report", "export"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name and phase, and the artifacts that it creates and reads."""

    name: StageName
    phase: StagePhase
    makes: tuple[ArtifactName, ...]
    needs: tuple[ArtifactName, ...]


CHAIN: tuple[Stage, ...] = (
    Stage("Prepare", "Preparing", ("rows",), ()),
    Stage("Generate", "Generating", ("answers", "judge"), ("rows",)),
    Stage("Curate", "Curating", ("dataset", "samples"), ("rows", "answers", "judge")),
    Stage("Train", "Training", ("student",), ("samples",)),
    Stage("Evaluate", "Evaluating", ("report",), ("rows", "judge", "dataset", "student")),
    Stage("Export", "Exporting", ("export",), ("student", "report")),
)
STAGES: dict[StageName, Stage] = {stage.name: stage for stage in CHAIN}
