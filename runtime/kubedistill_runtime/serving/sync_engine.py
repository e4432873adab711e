"""vLLM stepped in this process: one batch at a time, and equal batches get equal replies."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubedistill_runtime.serving.batch_engine import Advance, Replies
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.serving.vllm_requests import make_completion, sampling_parameters

if TYPE_CHECKING:
    from torch import nn
    from vllm import LLM


class SyncEngine:
    """A BatchEngine on `LLM`, whose steps run while it is called."""

    def __init__(self, llm: "LLM", *, stop_ids: Sequence[int]) -> None:
        self._llm, self._stop_ids = llm, stop_ids
        self._requests: list[str] = []
        self._first, self._k, self._steps = 0, 0, 0
        self._replies = Replies(0)

    def start(
        self, batch: int, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], seconds: float
    ) -> Advance:
        """Begin a batch, and advance it; what is left of another one is given up."""
        self.abort(batch)
        settings = [sampling_parameters(sampling, seed=seed, stop_ids=self._stop_ids) for seed in seeds]
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        self._first = self._llm.request_counter.counter
        self._requests = self._llm.enqueue(asked, settings, use_tqdm=False)
        self._replies, self._k = Replies(len(prompts)), sampling.k
        return self.advance(batch, seconds=seconds)

    def advance(self, batch: int, *, seconds: float) -> Advance:
        """Run steps until the batch is finished or these seconds have passed."""
        del batch
        engine, until = self._llm.llm_engine, time.monotonic() + seconds
        while engine.has_unfinished_requests():
            self._steps += 1
            for output in engine.step():
                if output.finished:
                    self._replies.add(int(output.request_id) - self._first, make_completion(output, k=self._k))
            if time.monotonic() >= until:
                break
        if self._replies.complete:
            self._requests = []
        return self._replies.advance(generated=self._steps)

    def abort(self, batch: int) -> None:
        """Give up the batch in progress, if there is one."""
        del batch
        if self._requests:
            self._llm.llm_engine.abort_request(self._requests, internal=True)
            self._requests = []

    def load_weights(self, path: str) -> None:
        """Load the weights of another folder of the same architecture."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
        self._llm.apply_model(_refresh_tied_heads)

    def close(self) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown()


def _refresh_tied_heads(module: "nn.Module") -> None:
    """Prepare tied heads for their kernels again: a CPU engine packs a copy, and reload_weights skips tied ones."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod

    for layer in module.modules():
        if isinstance(layer, ParallelLMHead) and isinstance(layer.quant_method, UnquantizedEmbeddingMethod):
            layer.quant_method.process_weights_after_loading(layer)
