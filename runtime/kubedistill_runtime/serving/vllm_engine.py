"""vLLM in a Ray actor, which runs one engine after another."""

import gc
import os
import resource
import traceback
from collections.abc import Sequence

from kubedistill.errors import EngineLost, InvalidModel
from kubedistill_runtime.root_cause import describe_cause
from kubedistill_runtime.serving.arguments import engine_arguments
from kubedistill_runtime.serving.async_engine import AsyncEngine
from kubedistill_runtime.serving.batch_engine import Advance, BatchEngine
from kubedistill_runtime.serving.downloads import nodes_of_this_actor
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.serving.hardware import describe_processor, has_accelerators
from kubedistill_runtime.serving.processes import peak_bytes_of_children
from kubedistill_runtime.serving.refusals import is_lost, refusal
from kubedistill_runtime.serving.sync_engine import SyncEngine

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two OpenMP threads drop to a tenth of their speed when one core is busy
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine dies with this actor, and nothing hangs
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; each engine gets its actual size
    "HF_HUB_OFFLINE": "1",  # models are folders already, which other processes have downloaded
}
_WITHOUT_COMPILER = {"TORCH_COMPILE_DISABLE": "1"}
"""For CPUs, where vLLM compiles only the rank of a token in an eager engine, which we do not use."""
_FIRST_BATCH, _FIRST_SECONDS = -1, 3600.0


class VllmActor:
    """A holder of at most one engine; the session makes it a Ray actor."""

    def __init__(self) -> None:
        os.environ.update(_ENVIRONMENT if has_accelerators() else _ENVIRONMENT | _WITHOUT_COMPILER)
        from vllm import LLM, SamplingParams  # noqa: F401  # takes 10 s, while the driver does something else

        gc.collect()
        gc.freeze()  # the modules' objects are not searched again, which would take a second for each engine
        self._running: BatchEngine | None = None

    def open(self, serving: Serving) -> None:
        """Start an engine in place of the previous one, and generate one token.

        Raises InvalidModel or ModelDoesNotFit if the engine refuses the model, and EngineLost if it dies of anything
        else.
        """
        self.close()
        try:
            self._running = _start(serving)
            # Some limits of an engine, such as a head size, cause an error only at the first token.
            first = Sampling(max_tokens=1, constraint=serving.constraint)
            advance = self.generate(_FIRST_BATCH, [[0]], sampling=first, seeds=[0], seconds=_FIRST_SECONDS)
            if advance.completions is None:
                raise EngineLost(f"there was no token in {_FIRST_SECONDS:.0f} s", at=serving.at, fix="Start again")
            if serving.constraint is not None and not advance.completions[0].ids:
                raise RuntimeError(f"the first reply ended with {advance.completions[0].finish}")
        except Exception as error:  # vLLM and its libraries have no other base class of errors
            refused = refusal(error, serving=serving)
            if not isinstance(refused, EngineLost):  # after EngineLost, the session ends this process
                traceback.clear_frames(error.__traceback__)  # frames keep the engine and its process groups alive
                self._stop()
            raise refused from error

    def generate(
        self, batch: int, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], seconds: float
    ) -> Advance:
        """Begin a batch, as in BatchEngine.start."""
        return self._engine.start(batch, prompts, sampling=sampling, seeds=seeds, seconds=seconds)

    def advance(self, batch: int, *, seconds: float) -> Advance:
        """Continue a batch, as in BatchEngine.advance."""
        return self._engine.advance(batch, seconds=seconds)

    def abort(self, batch: int) -> None:
        """Give up a batch, as in BatchEngine.abort."""
        self._engine.abort(batch)

    def load_weights(self, path: str) -> None:
        """Load the weights of another folder of the same architecture into the running engine.

        Raises InvalidModel if the engine can't do that, and the engine's own error if it died.
        """
        try:
            self._engine.load_weights(path)
        except Exception as error:  # vLLM's loaders have no other base class of errors
            if is_lost(error):
                raise
            problem = f"this build of vLLM can't load other weights into its engine: {describe_cause(error)}"
            raise InvalidModel(problem, at=path) from error

    def hardware(self, gpus: int) -> str:
        """Return the number and name of the engine's GPUs, or the processor."""
        from vllm.platforms import current_platform

        return describe_processor() if current_platform.is_cpu() else f"{gpus} x {current_platform.get_device_name()}"

    def close(self) -> None:
        """Stop the engine and release its memory."""
        if self._running is not None:
            self._stop()

    @property
    def _engine(self) -> BatchEngine:
        if self._running is None:
            raise RuntimeError("no engine was opened")
        return self._running

    def _stop(self) -> None:
        """Stop everything that was started, including an engine whose start failed."""
        from vllm.distributed import cleanup_dist_env_and_memory

        if self._running is not None:
            self._running.close()
        self._running = None
        gc.collect()
        cleanup_dist_env_and_memory()

    def peak_bytes(self) -> int:
        """Return the peak memory of the engine's processes, in bytes."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return own + peak_bytes_of_children() if isinstance(self._running, AsyncEngine) else own

    def nodes(self) -> list[str]:
        """Return the ids of the Ray nodes of the engine's processes."""
        return nodes_of_this_actor()

    def process_id(self) -> int:
        """Return the id of this process, for cleanup after a kill."""
        return os.getpid()


def _start(serving: Serving) -> BatchEngine:
    """Start the engine for one batch at a time, or for several."""
    from vllm import LLM
    from vllm.engine.arg_utils import AsyncEngineArgs

    arguments = engine_arguments(serving)
    if serving.lanes == 1:
        return SyncEngine(LLM(**arguments), stop_ids=serving.stop_ids)
    return AsyncEngine(AsyncEngineArgs(**arguments), stop_ids=serving.stop_ids)
