"""The training loop: plain torch, for one or more processes on any device, without Ray or vLLM.

The loss of a step is divided by the number of scored ids in the whole global batch, so workers, micro-batches and
accumulation affect only speed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kubedistill.errors import Stopped, TrainingFailed
from kubedistill.v1alpha1 import Training
from kubedistill_runtime.training.batches import make_batch, order_samples, split_step
from kubedistill_runtime.training.collective import Alone, Collective
from kubedistill_runtime.training.samples import Sample
from kubedistill_runtime.training.schedule import Schedule, make_schedule
from kubedistill_runtime.training.state import State, decode_state, encode_state
from kubedistill_runtime.training.student import Student

_DEFAULT_MICRO = 16


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of the loop, all optional."""

    save: Callable[[int, bytes], None] = lambda _step, _data: None
    """Save the state after a step; called on rank 0."""
    report: Callable[[int, int, dict[str, float]], None] = lambda _step, _steps, _figures: None
    """Report a step; called on rank 0."""
    computed: Callable[[], None] = lambda: None
    """Note that a micro-batch was computed, of a step or a validation; called on rank 0."""
    stopping: Callable[[], bool] = lambda: False
    """Return whether to save and stop; called on rank 0, and valid for all ranks."""
    clock: Callable[[], float] = lambda: 0.0
    """Seconds, for the time between two checkpoints."""


@dataclass(slots=True)
class Loop:
    """One training; the student ends with its best weights, or with its last ones if keepBest is off."""

    student: Student
    training: Training
    train: Sequence[Sample]
    validation: Sequence[Sample]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    collective: Collective = field(default_factory=Alone)
    hooks: Hooks = field(default_factory=Hooks)
    _tokens: int = field(default=0, init=False)
    """Scored ids of all steps, including those before a resume."""

    def run(self, resume: bytes | None = None) -> State:
        """Train to the end, from the start or from a saved state.

        Raises TrainingFailed if the loss is not finite, and Stopped, after saving, if a stop was requested.
        """
        schedule = make_schedule(self.training, samples=len(self.train))
        optimizer = make_optimizer(self.student, self.training)
        state = decode_state(resume, student=self.student, optimizer=optimizer) if resume else State()
        self._tokens = sum(int(point["tokens"]) for point in state.curve.train)
        saved_at = self.hooks.clock()
        while state.step < schedule.steps and not self._has_converged(state):
            self._take_step(state, schedule, optimizer)
            if self._is_validation(state.step, schedule):
                self._validate(state)
            due = self.hooks.clock() - saved_at >= self.training.checkpoint.every_minutes * 60
            stopping = self._agree(self.hooks.stopping())
            if (due or stopping) and self.collective.rank == 0:
                self.hooks.save(state.step, encode_state(state, student=self.student, optimizer=optimizer))
                saved_at = self.hooks.clock()
            if stopping:
                raise Stopped(f"training stopped after step {state.step}", fix="Start the job again to continue")
        if state.best_weights is not None:
            self.student.load_state_dict(state.best_weights)
        return state

    def _take_step(self, state: State, schedule: Schedule, optimizer: torch.optim.Optimizer) -> None:
        samples = self._samples_of(state.step, schedule)
        scored = sum(sample.scored for sample in samples)
        rate = self.training.optimizer.learning_rate * schedule.factor(state.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=False)
        loss = self._accumulate(samples, scored=scored)
        self.collective.sum_gradients(self.student.parameters())
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.training.optimizer.max_grad_norm)
        optimizer.step()
        state.step += 1
        self._tokens += scored
        loss = self.collective.sum_number(loss)
        _check_loss(loss, f"step {state.step}")
        state.curve.train.append({"step": state.step, "loss": loss, "learningRate": rate, "tokens": scored})
        if self.collective.rank == 0:
            self.hooks.report(state.step, schedule.steps, {"loss": loss, "tokens": self._tokens})

    def _accumulate(self, samples: Sequence[Sample], *, scored: int) -> float:
        """Accumulate the gradients of this worker's samples; returns its part of the step's loss."""
        micro = self.training.micro_batch_size or _DEFAULT_MICRO
        total = 0.0
        for part in split_step(samples, rank=self.collective.rank, world=self.collective.world, micro=micro):
            loss = self._sum_losses(part) / max(scored, 1)
            loss.backward()
            total += self._read(loss)
        return total

    def _sum_losses(self, samples: Sequence[Sample]) -> Tensor:
        """Return the sum of the losses of samples in the requested precision; weights stay in float32."""
        wanted = self.training.precision
        use_bf16 = wanted == "BF16" or (wanted == "Auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use_bf16):
            loss: Tensor = self.student(make_batch(samples, device=self.device))
        return loss

    def _read(self, loss: Tensor) -> float:
        """Return the loss of a micro-batch, once it is computed."""
        value = float(loss.detach())
        if self.collective.rank == 0:
            self.hooks.computed()
        return value

    def _samples_of(self, step: int, schedule: Schedule) -> list[Sample]:
        epoch, place = divmod(step, schedule.steps_per_epoch)
        order = order_samples(len(self.train), seed=self.training.seed, epoch=epoch)
        size = self.training.global_batch_size
        return [self.train[index] for index in order[place * size : (place + 1) * size]]

    def _validate(self, state: State) -> None:
        loss = self.measure(self.validation)
        _check_loss(loss, f"validation after step {state.step}")
        state.curve.validation.append({"step": state.step, "loss": loss})
        state.waited += 1
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.waited, state.curve.best_step = loss, 0, state.step
            if self.training.validation.keep_best:
                state.best_weights = _copy_to_host(self.student)

    @torch.no_grad()
    def measure(self, samples: Sequence[Sample]) -> float:
        """Return the loss per scored id over samples, in nats."""
        total = 0.0
        micro = self.training.micro_batch_size or _DEFAULT_MICRO
        for part in split_step(samples, rank=self.collective.rank, world=self.collective.world, micro=micro):
            total += self._read(self._sum_losses(part))
        return self.collective.sum_number(total) / max(1, sum(sample.scored for sample in samples))

    def _is_validation(self, step: int, schedule: Schedule) -> bool:
        every = self.training.validation.every_steps or schedule.steps_per_epoch
        return bool(self.validation) and (step % every == 0 or step == schedule.steps)

    def _has_converged(self, state: State) -> bool:
        return state.waited >= self.training.validation.patience

    def _agree(self, stopping: bool) -> bool:
        """Return on every rank whether rank 0 should stop."""
        return self.collective.sum_number(float(stopping and self.collective.rank == 0)) > 0


def _copy_to_host(student: Student) -> dict[str, Tensor]:
    """Return a copy of the weights in the memory of this process, since a GPU has less."""
    return {name: value.detach().to("cpu", copy=True) for name, value in student.state_dict().items()}


def _check_loss(loss: float, what: str) -> None:
    if not math.isfinite(loss):
        raise TrainingFailed(f"the loss of {what} is {loss}", at="spec.training.optimizer.learningRate", fix="Lower it")


def make_optimizer(student: Student, training: Training) -> torch.optim.AdamW:
    """Return AdamW without weight decay on vectors (norms and biases)."""
    settings = training.optimizer
    matrices = [one for one in student.parameters() if one.requires_grad and one.dim() > 1]
    vectors = [one for one in student.parameters() if one.requires_grad and one.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(settings.betas[0], settings.betas[1]), fused=True
    )
