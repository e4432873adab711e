"""Workers: how they use the cores of a machine, and what the driver hears of them."""

from concurrent.futures import Future
from typing import Any

import pytest

from kubedistill_runtime.training.progress_channel import LocalChannel
from kubedistill_runtime.training.workers import Cores, _follow, share_cores


@pytest.mark.parametrize(
    ("cores", "workers", "gpus", "parameters", "expected"),
    [
        (2, 1, 0, 300_000, Cores(lanes=2, threads=1)),
        (16, 1, 0, 300_000, Cores(lanes=2, threads=1)),
        (1, 1, 0, 300_000, Cores(lanes=1, threads=1)),
        (16, 2, 0, 300_000, Cores(lanes=1, threads=1)),
        (16, 1, 1, 300_000, Cores(lanes=1, threads=1)),
        (16, 1, 0, 40_000_000, Cores(lanes=1, threads=16)),
        (16, 2, 0, 40_000_000, Cores(lanes=1, threads=8)),
        (1, 2, 0, 40_000_000, Cores(lanes=1, threads=1)),
    ],
)
def test_lanes_share_the_steps_of_small_students_and_threads_the_operations_of_others(
    cores: int, workers: int, gpus: int, parameters: int, expected: Cores
) -> None:
    assert share_cores(cores, workers=workers, gpus=gpus, parameters=parameters) == expected


def test_work_is_reported_while_a_step_or_a_validation_lasts() -> None:
    channel, training, heard = LocalChannel(), Future[Any](), list[str]()

    def hear_work() -> None:
        heard.append("work")
        if heard == ["work", "work"]:
            channel.publish(1, 10, {"loss": 0.5})
        else:
            channel.note_work()

    def hear_step(step: int, steps: int, figures: dict[str, float]) -> None:
        heard.append(f"step {step} of {steps}, loss {figures['loss']}")
        training.set_result(None)

    channel.note_work()
    _follow(channel, training, report=hear_step, worked=hear_work)
    assert heard == ["work", "work", "step 1 of 10, loss 0.5"]
