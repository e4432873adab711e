"""The stage contract: the job of a driver, its progress messages, and its result.

The operator and the runtime share only these models. A StageJob has at most 256 KiB, and the others 16 KiB; anything
larger goes to storage. Either side may be the older one: a reader ignores unknown fields, and a change that it must not
ignore (a new stage, artifact, state or outcome) raises CONTRACT. Other models describe the results of stages
(`artifacts`, `summaries`), and the events that the runtime sends to the process that started it (`events`).
"""

from kubedistill.contract.driver_messages import ArtifactRef, StageProgress, StageResult
from kubedistill.contract.hardware import Hardware
from kubedistill.contract.models import ACCEPTED_CONTRACTS, CONTRACT, MESSAGE_BYTES, ContractModel, StoredModel, Summary
from kubedistill.contract.stage_job import (
    CHANNEL_VARIABLE,
    STAGE_JOB_BYTES,
    JobRef,
    Pools,
    Prices,
    RunRef,
    StageJob,
    key_variable,
)

__all__ = [
    "ACCEPTED_CONTRACTS",
    "CHANNEL_VARIABLE",
    "CONTRACT",
    "MESSAGE_BYTES",
    "STAGE_JOB_BYTES",
    "ArtifactRef",
    "ContractModel",
    "Hardware",
    "JobRef",
    "Pools",
    "Prices",
    "RunRef",
    "StageJob",
    "StageProgress",
    "StageResult",
    "StoredModel",
    "Summary",
    "key_variable",
]
