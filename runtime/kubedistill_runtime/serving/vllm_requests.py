"""Requests and replies in vLLM's form.

Shapes: T generated tokens, K alternatives stored per token.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kubedistill_runtime.answers import TopK
from kubedistill_runtime.serving.engine import Completion, Constraint, Sampling

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams


def sampling_parameters(sampling: Sampling, *, seed: int, stop_ids: Sequence[int]) -> "SamplingParams":
    """Return the parameters of one request, of which only the finished reply is reported."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=seed,
        logprobs=sampling.k,
        flat_logprobs=True,
        detokenize=False,
        stop_token_ids=None if sampling.ignore_end else list(stop_ids),
        ignore_eos=sampling.ignore_end,
        structured_outputs=_structured(sampling.constraint),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def make_completion(output: "RequestOutput", *, k: int) -> Completion:
    """Return the completion of a finished request."""
    (reply,) = output.outputs
    ids = tuple(reply.token_ids)
    shape = (len(ids), k + 1)  # every step has the drawn token and k alternatives
    ids_TJ = np.asarray(reply.logprobs.token_ids, dtype=np.int64).reshape(shape)
    logprobs_TJ = np.asarray(reply.logprobs.logprobs, dtype=np.float64).reshape(shape)
    top = top_k(ids_TJ, logprobs_TJ, k=k) if k else None
    return Completion(ids, reply.finish_reason, top, logprobs_TJ[:, 0].astype(np.float32))


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


def _structured(constraint: Constraint | None) -> "StructuredOutputsParams | None":
    """Return a constraint in the form of vLLM."""
    from vllm.sampling_params import StructuredOutputsParams

    if constraint is None:
        return None
    if constraint.choices:
        return StructuredOutputsParams(choice=list(constraint.choices))
    return StructuredOutputsParams(regex=constraint.regex, json=constraint.json_schema)
