"""Estimates of jobs: what each stage will take."""

from collections.abc import Sequence

from kubedistill.chain import StageName
from kubedistill.contract.hardware import Hardware
from kubedistill.contract.models import StoredModel
from kubedistill.contract.stage_job import Pools, Prices
from kubedistill.sums import sum_known


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
        tokens=sum(one.tokens for one in running),
        seconds=sum_known([one.seconds for one in running]),
        gpu_hours=sum_known([one.gpu_hours for one in running]),
        dollars=sum_known([one.dollars for one in running]),
    )


class Estimate(StoredModel):
    """What a job will take, and what this assumes."""

    stages: list[StageEstimate]
    disk_bytes: int
    """In the store."""
    download_bytes: int
    """Weights that are downloaded, on each node that loads them."""
    assumptions: list[str]
    """Sentences without a period."""
