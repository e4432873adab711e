"""The schedule: how many steps there are, and the learning rate of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.training.schedule import Schedule, make_schedule
from support import tiny_training as tiny


@pytest.mark.parametrize(
    ("samples", "batch", "epochs", "max_steps", "steps"),
    [(64, 16, 3, None, 12), (65, 16, 3, None, 15), (1, 16, 2, None, 2), (64, 16, 3, 5, 5), (64, 16, 3, 50, 12)],
)
def test_steps_are_batches_times_epochs_unless_max_steps_is_less(
    samples: int, batch: int, epochs: int, max_steps: int | None, steps: int
) -> None:
    training = tiny.make_training(globalBatchSize=batch, epochs=epochs, maxSteps=max_steps)
    assert make_schedule(training, samples=samples).steps == steps


def schedule(scheduler: str, *, warmup: float, steps: int = 100) -> Schedule:
    training = tiny.make_training(
        optimizer={"scheduler": scheduler, "warmupRatio": warmup}, globalBatchSize=1, epochs=1
    )
    return make_schedule(training, samples=steps)


@pytest.mark.parametrize(
    ("scheduler", "warmup", "step", "factor"),
    [
        ("Cosine", 0.1, 0, 0.1),  # a first step at rate 0 would be wasted
        ("Cosine", 0.1, 4, 0.5),
        ("Cosine", 0.1, 9, 1.0),
        ("Cosine", 0.1, 10, 1.0),
        ("Cosine", 0.1, 55, 0.525),  # halfway between 1 and 0.05
        ("Cosine", 0.1, 100, 0.05),
        ("Cosine", 0.0, 0, 1.0),
        ("Constant", 0.1, 0, 0.1),
        ("Constant", 0.1, 10, 1.0),
        ("Constant", 0.1, 99, 1.0),
        ("Cosine", 1.0, 49, 0.5),
    ],
)
def test_rate_rises_straight_then_follows_its_shape(scheduler: str, warmup: float, step: int, factor: float) -> None:
    assert schedule(scheduler, warmup=warmup).factor(step) == pytest.approx(factor)


@given(st.sampled_from(["Cosine", "Constant"]), st.floats(0, 1), st.integers(1, 500))
def test_rate_is_above_0_never_above_the_peak_and_falls_only_after_the_warm_up(
    scheduler: str, warmup: float, steps: int
) -> None:
    plan = schedule(scheduler, warmup=warmup, steps=steps)
    factors = [plan.factor(step) for step in range(plan.steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: plan.warmup] == sorted(factors[: plan.warmup])
    assert factors[plan.warmup :] == sorted(factors[plan.warmup :], reverse=True)
