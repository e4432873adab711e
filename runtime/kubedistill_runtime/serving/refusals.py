"""Refusals: errors of an engine that can't serve a model or that died, as errors that name the field and the fix."""

import re

from kubedistill.errors import EngineLost, InvalidManifest, InvalidModel, KubedistillError, ModelDoesNotFit
from kubedistill_runtime.dependencies import missing_dependency
from kubedistill_runtime.root_cause import describe_cause, find_root_cause, name_cause
from kubedistill_runtime.serving.engine import Serving

# Messages of CUDA, of the CPU allocator, and of vLLM for a device or a cache that is too small.
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|free memory on device"
    r"|no available memory|available kv cache memory",
    re.IGNORECASE,
)

# Messages of CUDA, cuDNN and NCCL for a failed device or network; the model is not the cause.
_DEVICE_FAILED = re.compile(r"\b(CUDA|CUDA driver|cuDNN|cuBLAS|NCCL) error\b|\b(CUBLAS|CUDNN)_STATUS_", re.IGNORECASE)
_DEVICE_ERRORS = frozenset({"AcceleratorError", "DistBackendError", "DistNetworkError", "DistStoreError"})
"""PyTorch's classes for such failures, by name, since some builds lack some of them."""
_INVALID_REQUEST = "VLLMValidationError"
"""vLLM's class for a request that it can't serve, such as a schema with keywords that it does not know."""


def refusal(error: BaseException, *, serving: Serving) -> KubedistillError:
    """Return the error for a failed start of an engine, with the root cause.

    It is MissingDependency if this environment lacks something, EngineLost if a worker or a device died,
    ModelDoesNotFit if there was not enough memory, InvalidManifest for a form that replies can't be forced into, and
    InvalidModel otherwise.
    """
    if (missing := missing_dependency(error, at=serving.at)) is not None:
        return missing
    reason, name = describe_cause(error), serving.model.source
    if is_lost(error):
        return EngineLost(f"the inference engine of {name} died: {reason}", at=serving.at, fix="Start again")
    if _is_out_of_memory(error):
        fix = "Use a smaller maxModelLen or dtype, more GPUs (tensorParallelSize), or a pool with more memory"
        return ModelDoesNotFit(f"{name} does not fit into the memory of its engine: {reason}", at=serving.at, fix=fix)
    if serving.constraint is not None and type(find_root_cause(error)).__name__ == _INVALID_REQUEST:
        problem, fix = f"the engine can't force replies into this form: {reason}", "Simplify the form, or remove it"
        return InvalidManifest(problem, at="spec.generation.structuredOutput", fix=fix)
    fix = "Use another checkpoint, dtype or quantization; the traceback is in driver.log"
    return InvalidModel(f"this build of vLLM can't serve {name}: {reason}", at=serving.at, fix=fix)


def is_lost(error: BaseException) -> bool:
    """Return whether an error is the failure of a process, a node or a device, so that a retry may succeed."""
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
    if isinstance(root, KubedistillError):  # it was classified where it was raised
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
    """Return the line of the root cause, and the line that describes it, which may be that of an outer error."""
    return f"{name_cause(error)}\n{describe_cause(error)}"
