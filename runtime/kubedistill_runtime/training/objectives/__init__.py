"""Objectives: what the student is asked to imitate. One is one file, and a row in OBJECTIVES."""

from kubedistill_runtime.training.objectives.cached_logits import CACHED_LOGITS
from kubedistill_runtime.training.objectives.objective import Objective
from kubedistill_runtime.training.objectives.sequence import SEQUENCE

OBJECTIVES: dict[str, Objective] = {"Sequence": SEQUENCE, "CachedLogits": CACHED_LOGITS}

__all__ = ["OBJECTIVES", "Objective"]
