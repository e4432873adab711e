"""Tiny students, made-up samples, and runs of the loop that are written down.

Shapes: L ids of a sample, N scored ids among them, K alternatives stored per scored id, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kubedistill.errors import Stopped
from kubedistill.v1alpha1 import Training
from kubedistill_runtime.answers import TopK
from kubedistill_runtime.training.collective import Alone, Collective
from kubedistill_runtime.training.loop import Hooks, Loop
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.samples import Sample
from kubedistill_runtime.training.state import State
from kubedistill_runtime.training.student import Student

VOCABULARY = 48
SIZES = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": VOCABULARY, "max_position_embeddings": 64, "initializer_range": 0.3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def make_student(
    objective: str = "CachedLogits", *, ce_weight: float = 0.0, dtype: torch.dtype = torch.float32, **config: Any
) -> Student:
    """Return a Llama with the same random weights each time."""
    torch.manual_seed(0)
    language_model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **config})).to(dtype)
    return Student(language_model, objective=OBJECTIVES[objective], ce_weight=ce_weight)


def make_top(generator: np.random.Generator, count: int, *, k: int, vocabulary: int = VOCABULARY) -> TopK:
    """Return a teacher's distribution at `count` ids: peaked, and rounded as the store rounds it."""
    logits_TV = generator.normal(0, 3, (count, vocabulary))
    logprobs_TV = logits_TV - np.log(np.exp(logits_TV).sum(1, keepdims=True))
    ids_TK = np.argsort(-logprobs_TV, axis=1)[:, :k]
    logprobs_TK = np.take_along_axis(logprobs_TV, ids_TK, axis=1)
    tail_T = np.clip(1 - np.exp(logprobs_TK).sum(1), 0, 1)
    return TopK(ids_TK.astype(np.int32), logprobs_TK.astype(np.float16), tail_T.astype(np.float32))


def make_sample(generator: np.random.Generator, *, prompt: int, reply: int, k: int = 5, known: bool = True) -> Sample:
    """Return random ids, the last `reply` of them scored."""
    ids = generator.integers(3, VOCABULARY, prompt + reply).astype(np.int32)
    top = make_top(generator, reply, k=k) if known else None
    return Sample(ids, np.arange(prompt + reply) >= prompt, top, np.full(reply, known))


def make_samples(lengths: Sequence[tuple[int, int]], *, seed: int = 0, known: bool = True) -> list[Sample]:
    """Return one sample for each (prompt, reply)."""
    generator = np.random.default_rng(seed)
    return [make_sample(generator, prompt=prompt, reply=reply, known=known) for prompt, reply in lengths]


def make_training(**fields: Any) -> Training:
    """Return settings from values as a manifest has them; the rate is one that moves a tiny model."""
    optimizer = {"learningRate": 0.01, "warmupRatio": 0.0, **fields.pop("optimizer", {})}
    return Training.model_validate({"optimizer": optimizer, **fields}, strict=False)


@dataclass(slots=True)
class Record:
    """What a run did, for comparisons."""

    student: Student
    state: State | None = None
    """None where the run was stopped."""
    losses: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    """Of each step, by parameter, after the workers' were added up and clipped."""
    saved: dict[int, bytes] = field(default_factory=dict)
    """States by step."""
    computed: int = 0
    """Micro-batches that were noted."""

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights that the student ended up with."""
        return {name: value.detach().clone() for name, value in self.student.state_dict().items()}


def run(
    training: Training,
    student: Student,
    *,
    train: Sequence[Sample],
    validation: Sequence[Sample] = (),
    collective: Collective | None = None,
    resume: bytes | None = None,
    stop_after: int | None = None,
    seconds_per_step: float = 0.0,
) -> Record:
    """Run the loop and write down what happens; stop_after asks it to leave once that step is done."""
    record = Record(student)
    done = 0

    def report(step: int, steps: int, figures: dict[str, float]) -> None:
        nonlocal done
        done = step
        record.losses.append(figures["loss"])
        record.tokens.append(figures["tokens"])
        gradients = {name: value.grad.clone() for name, value in student.named_parameters() if value.grad is not None}
        record.gradients.append(gradients)

    def note_micro_batch() -> None:
        record.computed += 1

    hooks = Hooks(
        save=record.saved.__setitem__,
        report=report,
        computed=note_micro_batch,
        stopping=lambda: done == stop_after,
        clock=lambda: done * seconds_per_step,
    )
    loop = Loop(student, training, train, validation, collective=collective or Alone(), hooks=hooks)
    try:
        record.state = loop.run(resume)
    except Stopped:
        assert stop_after is not None, "nobody asked it to stop"
    return record
