"""vLLM in a Ray actor, which runs one engine after another.

Shapes: T generated tokens, K alternatives stored per token.
"""

import gc
import os
import resource
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubedistill.errors import EngineLost, InvalidModel
from kubedistill_runtime.answers import TopK
from kubedistill_runtime.root_cause import describe_cause
from kubedistill_runtime.serving.engine import Completion, Constraint, Sampling, Serving
from kubedistill_runtime.serving.hardware import describe_processor, has_accelerators
from kubedistill_runtime.serving.refusals import is_lost, refusal

if TYPE_CHECKING:
    from torch import nn
    from vllm import LLM, RequestOutput
    from vllm.sampling_params import StructuredOutputsParams

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two OpenMP threads drop to a tenth of their speed when one core is busy
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine dies with this actor, and nothing hangs
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; each engine gets its actual size
    "HF_HUB_OFFLINE": "1",  # models are folders already
}
_WITHOUT_COMPILER = {"TORCH_COMPILE_DISABLE": "1"}
"""For CPUs, where vLLM compiles only the rank of a token in an eager engine, which we do not use."""
_MAX_SEQUENCES = 256
_MAX_CACHE_BYTES = 2**30
_GRAMMARS = {"backend": "xgrammar", "disable_any_whitespace": True}
"""One backend, so that a form has one meaning. A model that may write white space within JSON may write only that."""
_DTYPES = {"Float32": "float32", "BFloat16": "bfloat16", "Float16": "float16"}


class VllmActor:
    """A holder of at most one engine; the session makes it a Ray actor."""

    def __init__(self) -> None:
        os.environ.update(_ENVIRONMENT if has_accelerators() else _ENVIRONMENT | _WITHOUT_COMPILER)
        from vllm import LLM, SamplingParams  # noqa: F401  # takes 10 s, while the driver does something else

        self._engine: Any = None
        self._stop_ids: list[int] = []

    def open(self, serving: Serving) -> None:
        """Start an engine in place of the previous one, and generate one token.

        Raises InvalidModel or ModelDoesNotFit if the engine refuses the model, and EngineLost if it dies of anything
        else.
        """
        self.close()
        self._stop_ids = list(serving.stop_ids)
        try:
            self._engine = _start(serving)
            # Some limits of an engine, such as a head size, cause an error only at the first token.
            first = Sampling(max_tokens=1, constraint=serving.constraint)
            (reply,) = self.generate([[0]], sampling=first, seeds=[0])
            if serving.constraint is not None and not reply.ids:
                raise RuntimeError(f"the first reply ended with {reply.finish}")
        except Exception as error:  # vLLM and its libraries have no other base class of errors
            refused = refusal(error, serving=serving)
            if not isinstance(refused, EngineLost):  # after EngineLost, the session ends this process
                traceback.clear_frames(error.__traceback__)  # frames keep the engine and its process groups alive
                self._stop()
            raise refused from error

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """Answer prompts in their order, in one call of the engine."""
        from vllm import SamplingParams

        settings = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=seed,
                logprobs=sampling.k,
                flat_logprobs=True,
                detokenize=False,
                stop_token_ids=None if sampling.ignore_end else self._stop_ids,
                ignore_eos=sampling.ignore_end,
                structured_outputs=_structured(sampling.constraint),
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._engine.generate(requests, settings, use_tqdm=False)
        return [_completion(output.outputs[0], k=sampling.k) for output in outputs]

    def load_weights(self, path: str) -> None:
        """Load the weights of another folder of the same architecture into the running engine.

        Raises InvalidModel if the engine can't do that, and the engine's own error if it died.
        """
        try:
            self._engine.collective_rpc("reload_weights", kwargs={"weights_path": path})
            self._engine.apply_model(_refresh_tied_heads)
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
        if self._engine is not None:
            self._stop()

    def _stop(self) -> None:
        """Stop everything that was started, including an engine whose start failed."""
        from vllm.distributed import cleanup_dist_env_and_memory

        if self._engine is not None:
            self._engine.llm_engine.engine_core.shutdown()
        self._engine = None
        gc.collect()
        cleanup_dist_env_and_memory()

    def peak_bytes(self) -> int:
        """Return the peak memory of this process, in bytes."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def process_id(self) -> int:
        """Return the id of this process, for cleanup after a kill."""
        return os.getpid()


def _start(serving: Serving) -> "LLM":
    from vllm import LLM

    return LLM(
        str(serving.model.path),
        dtype=_DTYPES[serving.dtype],
        quantization=serving.quantization,
        trust_remote_code=serving.model.trust_remote_code,
        tensor_parallel_size=serving.tensor_parallel_size,
        pipeline_parallel_size=serving.pipeline_parallel_size,
        max_model_len=serving.max_model_len,
        max_num_seqs=_MAX_SEQUENCES,
        # Chunked prefill resets a request's random generator, which kills the CPU engine. After a kill, the same
        # prompts must run through the same kernels again.
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        max_num_batched_tokens=max(serving.max_model_len, 8192),
        kv_cache_memory_bytes=_cache_bytes(serving),
        enforce_eager=True,
        max_logprobs=max(serving.k, 1),
        logprobs_mode="raw_logprobs",
        skip_tokenizer_init=serving.constraint is None,
        structured_outputs_config=_GRAMMARS,
        disable_log_stats=True,
    )


def _structured(constraint: Constraint | None) -> "StructuredOutputsParams | None":
    """Return a constraint in the form of vLLM."""
    from vllm.sampling_params import StructuredOutputsParams

    if constraint is None:
        return None
    if constraint.choices:
        return StructuredOutputsParams(choice=list(constraint.choices))
    return StructuredOutputsParams(regex=constraint.regex, json=constraint.json_schema)


def _refresh_tied_heads(module: "nn.Module") -> None:
    """Prepare tied heads for their kernels again: a CPU engine packs a copy, and reload_weights skips tied ones."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod

    for layer in module.modules():
        if isinstance(layer, ParallelLMHead) and isinstance(layer.quant_method, UnquantizedEmbeddingMethod):
            layer.quant_method.process_weights_after_loading(layer)


def top_k(ids_TJ: np.ndarray, logprobs_TJ: np.ndarray, *, k: int) -> TopK:
    """Return the K most likely ids and the mass of all others, from J = K + 1 entries; the first is the drawn token.

    The tail is computed in float64 before the logprobs are rounded to float16.
    """
    logprobs_TK = logprobs_TJ[:, 1 : k + 1].astype(np.float64)
    tail_T = np.clip(1.0 - np.exp(logprobs_TK).sum(axis=1), 0.0, 1.0)
    return TopK(
        np.ascontiguousarray(ids_TJ[:, 1 : k + 1].astype(np.int32)),
        logprobs_TK.astype(np.float16),
        tail_T.astype(np.float32),
    )


def _completion(output: "RequestOutput", *, k: int) -> Completion:
    ids = tuple(output.token_ids)
    shape = (len(ids), k + 1)  # every step has the drawn token and k alternatives
    ids_TJ = np.asarray(output.logprobs.token_ids, dtype=np.int64).reshape(shape)
    logprobs_TJ = np.asarray(output.logprobs.logprobs, dtype=np.float64).reshape(shape)
    top = top_k(ids_TJ, logprobs_TJ, k=k) if k else None
    return Completion(ids, output.finish_reason, top, logprobs_TJ[:, 0].astype(np.float32))


def _cache_bytes(serving: Serving) -> int:
    """Return the size of the KV cache: a full batch up to a limit, but at least one request of maximum length."""
    weights = serving.model.memory_bytes(dtype=serving.dtype, tokens=0)
    one = serving.model.memory_bytes(dtype=serving.dtype, tokens=2 * serving.max_model_len) - weights
    return max(one, min(_MAX_SEQUENCES * one, _MAX_CACHE_BYTES), 64 * 2**20)
