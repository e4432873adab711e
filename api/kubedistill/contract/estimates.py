"""Estimates of jobs: what each stage will take."""

from collections.abc import Sequence

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract.hardware import Hardware
from kubedistill.contract.models import StoredModel
from kubedistill.contract.stage_job import Pools, Prices
from kubedistill.printing import printable_line
from kubedistill.sums import sum_known
from kubedistill.v1alpha1 import EstimatedStage, EstimateStatus

_DIGITS, _TEXT, _NOTES = 4, 1024, 32
"""Decimals of a figure in the status, and the longest text and list there."""


class Machines(StoredModel):
    """What a job runs on: the hardware of its stages, and the pools and prices of its models."""

    hardware: dict[StageName, Hardware]
    pools: Pools = Pools()
    prices: Prices = Prices()


class StageEstimate(StoredModel):
    """What one stage will take; None where nothing is known."""

    stage: StageName
    tokens: int = 0
    """Tokens that models generate or learn."""
    seconds: float | None = None
    gpu_hours: float | None = None
    """GPUs that are held, times hours."""
    dollars: float | None = None
    reused: bool = False
    """Whether the store has its artifacts already."""


def add_up(parts: Sequence[StageEstimate]) -> StageEstimate:
    """Return the sum of what will run, with the name of the first part; what one part does not know is not known."""
    running = [one for one in parts if not one.reused]
    return StageEstimate(
        stage=parts[0].stage,
        reused=not running,
        tokens=sum(one.tokens for one in running),
        seconds=sum_known([one.seconds for one in running]),
        gpu_hours=sum_known([one.gpu_hours for one in running]),
        dollars=sum_known([one.dollars for one in running]),
    )


class RunEstimate(StoredModel):
    """estimate.json in the folder of a run: what each stage was estimated to take before it ran."""

    artifacts: dict[ArtifactName, str]
    """Keys of the artifacts that were estimated."""
    stages: list[StageEstimate]


class Estimate(StoredModel):
    """What a job will take, and what this assumes."""

    stages: list[StageEstimate]
    """The stages that serve or train models."""
    disk_bytes: int
    """In the store."""
    download_bytes: int
    """Weights that are downloaded, on each node that loads them."""
    assumptions: list[str]
    """Sentences without a period."""

    @property
    def total(self) -> StageEstimate:
        """The sum of the stages that will run, as a stage that is reused if none will."""
        return add_up(self.stages)

    def to_status(self) -> EstimateStatus:
        """Return the estimate as the status has it; raises ValidationError if a figure is out of range."""
        stages = [
            EstimatedStage(name=one.stage, tokens=one.tokens, reused=one.reused, **_figures(one)) for one in self.stages
        ]
        return EstimateStatus(
            tokens=self.total.tokens,
            **_figures(self.total),
            disk_bytes=self.disk_bytes,
            download_bytes=self.download_bytes,
            stages=tuple(stages),
            assumptions=tuple(printable_line(" ".join(one.split()))[:_TEXT] for one in self.assumptions[:_NOTES]),
        )


def _figures(one: StageEstimate) -> dict[str, float | None]:
    known = {"seconds": one.seconds, "gpu_hours": one.gpu_hours, "dollars": one.dollars}
    return {name: None if value is None else round(value, _DIGITS) for name, value in known.items()}
