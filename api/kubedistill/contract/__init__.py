"""The stage contract: what a driver is told, what it says meanwhile, and what it says last.

The operator and the runtime share these models and nothing else. A StageJob is at most 256 KiB, the others 16 KiB;
whatever is larger goes to storage. Either side may be the older one: a reader ignores fields that it does not know, and
what it must not ignore (a new stage, artifact, state or outcome) raises CONTRACT. Beside them are the models of what
a stage leaves (`artifacts`, `summaries`) and of what the runtime says to the process that started it (`events`).
"""

from kubedistill.contract.driver_messages import ArtifactRef, StageProgress, StageResult
from kubedistill.contract.models import ACCEPTED_CONTRACTS, CONTRACT, MESSAGE_BYTES, ContractModel, StoredModel, Summary
from kubedistill.contract.stage_job import (
    CHANNEL_VARIABLE,
    STAGE_JOB_BYTES,
    JobRef,
    Pools,
    Prices,
    RunRef,
    StageJob,
)

__all__ = [
    "ACCEPTED_CONTRACTS",
    "CHANNEL_VARIABLE",
    "CONTRACT",
    "MESSAGE_BYTES",
    "STAGE_JOB_BYTES",
    "ArtifactRef",
    "ContractModel",
    "JobRef",
    "Pools",
    "Prices",
    "RunRef",
    "StageJob",
    "StageProgress",
    "StageResult",
    "StoredModel",
    "Summary",
]
