"""spec.training: how the student learns."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kubedistill.v1alpha1.base import Count, Fraction, Model, cel

ObjectiveType = Literal["Auto", "Sequence", "CachedLogits"]

_TEMPERATURE_ONE = (
    "temperature must be 1: stored logprobs are the teacher's own, and can't be softened afterwards; remove temperature"
)


class Objective(Model):
    """What the student learns to reproduce."""

    model_config = ConfigDict(
        json_schema_extra=cel(("!has(self.temperature) || self.temperature == 1.0", _TEMPERATURE_ONE))
    )

    type: ObjectiveType = "Auto"
    """Sequence: the teacher's text. CachedLogits: the teacher's stored distribution, which needs a shared tokenizer.
    Auto: the strongest objective that the models allow; the job states the reason."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Temperature of the loss, above 0 to 10. Sequence and CachedLogits need 1."""
    ce_weight: Fraction | None = None
    """Share of plain cross-entropy in CachedLogits, 0 to 1. A token without a stored distribution (a repaired answer,
    or one that the student's template writes differently) is trained only on cross-entropy. Absent: 0."""

    @model_validator(mode="after")
    def _check_temperature(self) -> Self:
        if self.temperature != 1:
            raise ValueError(_TEMPERATURE_ONE)
        return self


class Optimizer(Model):
    """AdamW and its schedule."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Peak learning rate, above 0 to 1; 1e-5 to 5e-5 suits models of 1B parameters and more."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Decoupled weight decay of matrices, 0 to 1; vectors have no weight decay."""
    betas: Annotated[tuple[Fraction, ...], Field(min_length=2, max_length=2)] = (0.9, 0.95)
    """The two momentum coefficients of AdamW."""
    scheduler: Literal["Cosine", "Constant"] = "Cosine"
    """Schedule after the warm-up. Cosine: down to 5 % of the peak."""
    warmup_ratio: Fraction = 0.03
    """Share of the steps over which the learning rate rises from 0."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Maximum norm of the gradients; larger gradients are clipped."""


class Validation(Model):
    """How the best checkpoint is found."""

    every_steps: Count | None = None
    """Steps between two validations. Absent: once an epoch."""
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    """Number of validations without a lower loss after which training ends, 1 to 1,000."""
    keep_best: bool = True
    """Use the checkpoint with the lowest validation loss instead of the last."""


class Checkpoint(Model):
    """When checkpoints are saved, and how many are kept."""

    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 10
    """Minutes between two checkpoints, above 0 to 1,440."""
    keep_last: Annotated[int, Field(ge=1, le=100)] = 2
    """Number of checkpoints to keep, 1 to 100."""


class Training(Model):
    """How the student learns."""

    objective: Objective = Objective()
    """What the student learns to reproduce."""
    optimizer: Optimizer = Optimizer()
    """AdamW and its schedule."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    """Passes over the training set, 1 to 1,000."""
    max_steps: Count | None = None
    """Number of optimizer steps after which training ends, even within an epoch. Absent: all epochs."""
    global_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Samples per optimizer step, over all workers, 1 to 65,536."""
    micro_batch_size: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """Samples per forward pass of one worker; gradients are accumulated. Absent: the worker's whole share, up to 16."""
    max_length: Annotated[int | None, Field(ge=16, le=1_048_576)] = None
    """Maximum length of a sample in tokens, 16 to 1,048,576; longer samples are dropped and counted.
    Absent: 2,048, or what the student supports if that is less."""
    precision: Literal["Auto", "BF16", "FP32"] = "Auto"
    """Precision of the forward pass. Auto: BF16 on GPUs, FP32 on CPUs. Weights are always updated in FP32."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed for the order of samples."""
    validation: Validation = Validation()
    """How the best checkpoint is found."""
    checkpoint: Checkpoint = Checkpoint()
    """When checkpoints are saved, and how many are kept."""
