"""The state of a training: everything that is needed to continue it exactly."""

import io
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kubedistill.errors import TrainingFailed
from kubedistill.json_values import JsonObject


@dataclass(slots=True)
class Curve:
    """The losses so far, in nats per scored id."""

    train: list[dict[str, float]] = field(default_factory=list)
    """step (from 1), loss, learningRate and tokens (scored ids of the step)."""
    validation: list[dict[str, float]] = field(default_factory=list)
    """step and loss."""
    best_step: int = 0

    def to_values(self) -> JsonObject:
        """Return the curve as JSON values."""
        return {"train": self.train, "validation": self.validation, "bestStep": self.best_step}


@dataclass(slots=True)
class State:
    """The state of a training after `step` optimizer steps."""

    step: int = 0
    curve: Curve = field(default_factory=Curve)
    best_loss: float | None = None
    """Lowest validation loss; None until the first validation."""
    best_weights: dict[str, Tensor] | None = None
    """Weights with the lowest validation loss; None until the first validation, or if keepBest is off."""
    waited: int = 0
    """Validations since the lowest loss."""


def encode_state(state: State, *, student: torch.nn.Module, optimizer: torch.optim.Optimizer) -> bytes:
    """Encode a state, including the student's weights and the optimizer's state."""
    values = {
        "step": state.step,
        "curve": state.curve.to_values(),
        "best_loss": state.best_loss,
        "best_weights": state.best_weights,
        "waited": state.waited,
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    sink = io.BytesIO()
    torch.save(values, sink)
    return sink.getvalue()


def decode_state(data: bytes, *, student: torch.nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Restore a state of encode_state; raises TrainingFailed if it belongs to another student."""
    values = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    try:
        student.load_state_dict(values["student"])
    except RuntimeError as error:  # torch lists each tensor that differs; a person needs the fix
        raise TrainingFailed(
            "the saved state belongs to another student", at="steps", fix="Delete the steps folder of the artifact"
        ) from error
    optimizer.load_state_dict(values["optimizer"])
    curve = values["curve"]
    return State(
        step=values["step"],
        curve=Curve(curve["train"], curve["validation"], curve["bestStep"]),
        best_loss=values["best_loss"],
        best_weights=values["best_weights"],
        waited=values["waited"],
    )
