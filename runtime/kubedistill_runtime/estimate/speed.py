"""Speed: the seconds that engines and training take, from the data sheet of a device and the sizes of a model.

A step of decoding reads all weights and the cache of every request; a prompt, and a step of training, compute with
every active parameter: 2 operations per token, and 6 with the backward pass (arxiv.org/abs/2001.08361, section 2.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kubedistill.json_values import Json
from kubedistill_runtime.estimate.accelerators import (
    DECODE_SHARE,
    PREFILL_SHARE,
    TRAINING_SHARE,
    Accelerator,
)
from kubedistill_runtime.fit.cache import cache_bytes
from kubedistill_runtime.fit.serving import Precision, weight_bytes
from kubedistill_runtime.fit.sizes import size_of, text_config
from kubedistill_runtime.models import Model

_MOST_REQUESTS = 256
"""Requests that an engine answers at a time."""
_STEP_SECONDS = 0.004
"""What an engine's scheduler and sampler add to each step."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One copy of a model on its devices."""

    model: Model
    precision: Precision
    devices: int
    accelerator: Accelerator


def generation_seconds(
    engine: Engine, *, answers: int, prompt_tokens: float, answer_tokens: float, copies: int = 1
) -> float:
    """Return the seconds in which copies of a model answer prompts, without their start."""
    if not answers:
        return 0.0
    config = text_config(engine.model.config)
    active = active_parameters(config, engine.model.parameters)
    operations = engine.accelerator.operations * engine.devices
    share = -(-answers // copies)
    at_once = min(share, _MOST_REQUESTS)
    prefill = 2 * active * prompt_tokens * share / (operations * PREFILL_SHARE)
    held = cache_bytes(
        config,
        tokens=int(prompt_tokens + answer_tokens / 2),
        element_bytes=engine.precision.cache_bytes,
    )
    read = weight_bytes(engine.model, engine.precision) + at_once * held
    step = max(
        read / (engine.accelerator.bandwidth * engine.devices * DECODE_SHARE),
        2 * active * at_once / (operations * PREFILL_SHARE),
    )
    return prefill + share / at_once * answer_tokens * (step + _STEP_SECONDS)


def training_seconds(student: Model, *, tokens: float, workers: int, accelerator: Accelerator) -> float:
    """Return the seconds of the forward and backward passes over a number of tokens."""
    active = active_parameters(text_config(student.config), student.parameters)
    return 6 * active * tokens / (accelerator.operations * workers * TRAINING_SHARE)


def active_parameters(config: Mapping[str, Json], parameters: int) -> int:
    """Return the parameters that take part in each token; of experts, only those that are chosen."""
    experts = size_of(config, "n_routed_experts", "num_experts", "num_local_experts")
    chosen = size_of(config, "num_experts_per_tok")
    if not experts or not chosen:
        return parameters
    inner = size_of(config, "moe_intermediate_size", "intermediate_size")
    layers = size_of(config, "num_hidden_layers") - size_of(config, "first_k_dense_replace")
    in_experts = 3 * size_of(config, "hidden_size") * inner * experts * layers
    return parameters - in_experts * (experts - chosen) // experts
