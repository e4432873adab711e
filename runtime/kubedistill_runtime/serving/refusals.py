"""Refusals: what an engine that can't serve a model says, as an error that names the field and the fix."""

import re

from kubedistill.errors import InvalidInput, InvalidModel, ModelDoesNotFit
from kubedistill_runtime.root_cause import describe_cause, find_root_cause
from kubedistill_runtime.serving.engine import Serving

# CUDA's and the CPU allocator's words, and vLLM's own for a device or a cache that is too small.
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|free memory on device"
    r"|no available memory|available kv cache memory",
    re.IGNORECASE,
)


def refusal(error: BaseException, *, serving: Serving) -> InvalidInput:
    """Return ModelDoesNotFit where memory ran out at start, else InvalidModel; both say the root cause."""
    root, reason = find_root_cause(error), describe_cause(error)
    name = serving.model.source
    if isinstance(root, MemoryError) or "OutOfMemory" in type(root).__name__ or _NO_MEMORY.search(reason):
        fix = "Use a smaller maxModelLen or dtype, more GPUs (tensorParallelSize), or a pool with more memory"
        return ModelDoesNotFit(f"{name} does not fit where its engine runs: {reason}", at=serving.at, fix=fix)
    fix = "Use another checkpoint, dtype or quantization; the traceback is in driver.log"
    return InvalidModel(f"this build of vLLM can't serve {name}: {reason}", at=serving.at, fix=fix)
