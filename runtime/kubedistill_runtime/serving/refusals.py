"""Refusals: what an engine says that can't serve a model or that died, as an error that names the field and the fix."""

import re

from kubedistill.errors import EngineLost, InvalidModel, KubedistillError, ModelDoesNotFit
from kubedistill_runtime.dependencies import missing_dependency
from kubedistill_runtime.root_cause import describe_cause, find_root_cause, name_cause
from kubedistill_runtime.serving.engine import Serving

# CUDA's and the CPU allocator's words, and vLLM's own for a device or a cache that is too small.
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|free memory on device"
    r"|no available memory|available kv cache memory",
    re.IGNORECASE,
)

# A device or the network between devices that broke, and not the model: CUDA's, cuDNN's and NCCL's words.
_DEVICE_FAILED = re.compile(r"\b(CUDA|CUDA driver|cuDNN|cuBLAS|NCCL) error\b|\b(CUBLAS|CUDNN)_STATUS_", re.IGNORECASE)
_DEVICE_ERRORS = frozenset({"AcceleratorError", "DistBackendError", "DistNetworkError", "DistStoreError"})
"""PyTorch's classes of the same; some of its builds lack some of them, so they are known by name."""


def refusal(error: BaseException, *, serving: Serving) -> KubedistillError:
    """Return what a failed start of an engine is; each says the root cause.

    MissingDependency where this environment lacks something, EngineLost where a worker or a device died,
    ModelDoesNotFit where memory ran out, else InvalidModel.
    """
    if (missing := missing_dependency(error, at=serving.at)) is not None:
        return missing
    reason, name = describe_cause(error), serving.model.source
    if is_lost(error):
        return EngineLost(f"the inference engine of {name} died: {reason}", at=serving.at, fix="Start again")
    if _is_out_of_memory(error):
        fix = "Use a smaller maxModelLen or dtype, more GPUs (tensorParallelSize), or a pool with more memory"
        return ModelDoesNotFit(f"{name} does not fit where its engine runs: {reason}", at=serving.at, fix=fix)
    fix = "Use another checkpoint, dtype or quantization; the traceback is in driver.log"
    return InvalidModel(f"this build of vLLM can't serve {name}: {reason}", at=serving.at, fix=fix)


def is_lost(error: BaseException) -> bool:
    """Return whether an error is the end of a process, a node or a device, which another start may not meet."""
    from ray import exceptions as of_ray

    died = (
        of_ray.RayActorError,
        of_ray.WorkerCrashedError,
        of_ray.NodeDiedError,
        of_ray.LocalRayletDiedError,
        of_ray.ObjectLostError,
        of_ray.ActorPlacementGroupRemoved,
        of_ray.TaskPlacementGroupRemoved,
        of_ray.RaySystemError,
        of_ray.RpcError,
    )
    root = find_root_cause(error)
    if isinstance(root, KubedistillError):  # that has been decided where it was raised
        return isinstance(root, EngineLost)
    if isinstance(root, died):
        return True
    failed = type(root).__name__ in _DEVICE_ERRORS or _DEVICE_FAILED.search(_words(error)) is not None
    return failed and not _is_out_of_memory(error)


def _is_out_of_memory(error: BaseException) -> bool:
    root = find_root_cause(error)
    return (
        isinstance(root, MemoryError)
        or "OutOfMemory" in type(root).__name__
        or _NO_MEMORY.search(_words(error)) is not None
    )


def _words(error: BaseException) -> str:
    """The root cause's own line, and the one that is told of it, which may be that of the error around it."""
    return f"{name_cause(error)}\n{describe_cause(error)}"
