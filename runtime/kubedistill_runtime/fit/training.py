"""Training: the memory that each worker needs on its device and in its process."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubedistill.json_values import Json
from kubedistill_runtime.fit.sizes import (
    head_size_of,
    heads_of,
    hidden_size_of,
    kv_heads_of,
    layers_of,
    size_of,
    text_config,
)
from kubedistill_runtime.models import Model

_WEIGHTS, _GRADIENTS, _MOMENTS = 4, 4, 8
"""Bytes per parameter: all float32; AdamW has two moments."""
_HALF_COPY = 2
"""Autocast keeps a 16-bit copy of the weights during a micro-batch."""
_FLAT_GRADIENTS = 4
"""All gradients are concatenated for one reduction over several workers."""
_BEST_WEIGHTS = 4
"""The weights of the best validation, in the memory of the process."""
_CHECKPOINT = _WEIGHTS + _MOMENTS + _BEST_WEIGHTS
"""A checkpoint is encoded in memory before it is written."""
_CONTEXT_BYTES = 2**30
"""CUDA's context and the workspaces of its libraries: 1 GiB, an estimate."""
_TILE_ROWS = 256
"""Rows of logits at a time (training/head.py)."""


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """The bytes that each worker needs: on its GPU and in its process, or all in its process."""

    states: int
    """Weights, gradients, the optimizer's moments and copies of them."""
    activations: int
    """Of one sample of maximum length."""
    host: int
    """The best weights, and a checkpoint that is written, or read and decoded."""
    context: int = 0

    @property
    def device(self) -> int:
        """All bytes on the worker's device."""
        return self.states + self.activations + self.context


def training_memory(
    student: Model, *, max_length: int, workers: int, half: bool, on_gpu: bool, keep_best: bool
) -> TrainingMemory:
    """Return what each worker needs to train all weights; `half` is 16-bit autocast.

    Every worker has the whole student, and a micro-batch has at least one sample.
    """
    per_parameter = _WEIGHTS + _GRADIENTS + _MOMENTS
    per_parameter += _HALF_COPY if half else 0
    per_parameter += _FLAT_GRADIENTS if workers > 1 else 0
    # A worker on a GPU reads a checkpoint before it has best weights; a process without GPU holds all else by then.
    host = 2 * _CHECKPOINT if on_gpu else _CHECKPOINT + (_BEST_WEIGHTS if keep_best else 0)
    return TrainingMemory(
        states=student.parameters * per_parameter,
        activations=activation_bytes(text_config(student.config), tokens=max_length, half=half),
        host=student.parameters * host,
        context=_CONTEXT_BYTES if on_gpu else 0,
    )


def activation_bytes(config: Mapping[str, Json], *, tokens: int, half: bool) -> int:
    """Return the bytes that the backward pass needs of a forward pass, without gradient checkpointing.

    These are, per layer and token: inputs and outputs of two normalizations and two residuals in float32; and in the
    precision of the forward pass, queries, keys, values, the inputs of the linear layers (which autocast converts for
    each of them; one has the size of the queries) and four of the gated layer's size. The head keeps one tile of
    logits, their gradient and a copy.
    """
    hidden, layers = hidden_size_of(config), layers_of(config)
    inner = size_of(config, "intermediate_size") or 4 * hidden
    queries, key_values = heads_of(config) * head_size_of(config), 2 * kv_heads_of(config) * head_size_of(config)
    size, inputs = (2, 6) if half else (4, 3)
    layer = (2 * queries + (inputs - 1) * hidden + key_values + 4 * inner) * size + 5 * hidden * 4
    return tokens * layers * layer + 3 * min(tokens, _TILE_ROWS) * size_of(config, "vocab_size") * 4
