"""Workers, lanes, micro-batches and accumulation change only speed.

Real processes over gloo, and threads of this process, against one alone.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from kubedistill.errors import Stopped, TrainingFailed
from kubedistill_runtime.training.batches import make_batch
from kubedistill_runtime.training.collective import Collective
from kubedistill_runtime.training.lanes import run_in_lanes
from support import group_worker
from support import tiny_training as tiny
from support.group_worker import Found

WORLD = 2
# Samples of unequal lengths and unequal numbers of scored ids; 9 of them at 8 a step leave one for the second step,
# in which the second worker has none.
LENGTHS = [(3, 1), (1, 12), (9, 2), (2, 7), (5, 5), (1, 1), (2, 2)]
TEXT_LENGTHS = [(4, 3), (1, 8)]
BATCH = {"globalBatchSize": 8, "epochs": 1, "optimizer": {"maxGradNorm": 1000}}


def task(*, dtype: str = "float64", micro: int | None = None, **more: Any) -> dict[str, Any]:
    training = {**BATCH, "microBatchSize": micro, **more.pop("training", {})}
    return {"lengths": LENGTHS, "textLengths": TEXT_LENGTHS, "dtype": dtype, "training": training, **more}


TASKS = {
    "float64": task(),
    "float64, micro 1": task(micro=1),
    "one sample for two": task() | {"lengths": LENGTHS[:1], "textLengths": []},
    "float32": task(dtype="float32", training={"maxSteps": 1}),
    "validation of one": task(validationLengths=[(2, 5)], training={"validation": {"everySteps": 1}}),
    "validation of three": task(validationLengths=[(2, 5), (1, 1), (4, 2)], training={"validation": {"everySteps": 1}}),
    "stopped": task(stopAfter=1),
    "clipped": task(training={"optimizer": {"maxGradNorm": 0.01}}),
}


@pytest.fixture(scope="module", params=["processes", "lanes"])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Found]]:
    """Return what the two workers got for each task."""
    if request.param == "lanes":
        results = group_worker.run_in_threads(list(TASKS.values()), world=WORLD)
    else:
        results = run_processes(tmp_path_factory.mktemp("group"))
    return [dict(zip(TASKS, result, strict=True)) for result in results]


def run_processes(folder: Path) -> list[list[Found]]:
    """Return what each process got for each task."""
    (folder / "tasks.json").write_text(json.dumps(list(TASKS.values())))
    # The machine may have no route to its own name.
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "support.group_worker", str(folder), str(rank), str(WORLD)], env=environment
        )
        for rank in range(WORLD)
    ]
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [torch.load(folder / f"results-{rank}.pt", weights_only=True) for rank in range(WORLD)]


def assert_close(found: Sequence[dict[str, torch.Tensor]], expected: Sequence[dict[str, torch.Tensor]]) -> None:
    assert len(found) == len(expected) > 0
    for mine, other in zip(found, expected, strict=True):
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            torch.testing.assert_close(
                value, other[name], rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
            )


@pytest.mark.parametrize("name", ["float64", "float64, micro 1", "one sample for two", "float32"])
def test_two_workers_form_the_gradients_of_one(name: str, together: list[dict[str, Found]]) -> None:
    """The second step of the float64 tasks gives the second worker no sample at all."""
    alone = group_worker.train(TASKS[name] | {"training": {**TASKS[name]["training"], "microBatchSize": 8}})
    found = together[0][name]
    assert_close(found["gradients"], alone.gradients)
    assert found["losses"] == pytest.approx(alone.losses, rel=1e-5)
    assert len(alone.losses) == (2 if "float64" in name else 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulated_micro_batches_form_the_gradients_of_the_whole(micro: int, dtype: str) -> None:
    steps = 2 if dtype == "float64" else 1  # AdamW turns a rounding of a tiny gradient into a step of the other sign
    parts, whole = (
        group_worker.train(task(dtype=dtype, micro=size, training={"maxSteps": steps})) for size in (micro, 8)
    )
    assert_close(parts.gradients, whole.gradients)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)


def test_loss_of_a_step_is_the_mean_over_all_scored_ids_of_the_batch() -> None:
    """Not the mean of the samples' means, nor of the micro-batches'."""
    record = group_worker.train(task(micro=3, training={"globalBatchSize": 9}))
    samples = [*tiny.make_samples(LENGTHS), *tiny.make_samples(TEXT_LENGTHS, seed=1, known=False)]
    student = tiny.make_student(ce_weight=0.3, dtype=torch.float64)
    sums = [float(student(make_batch([sample], device=torch.device("cpu"))).detach()) for sample in samples]
    assert record.losses == pytest.approx([sum(sums) / sum(sample.scored for sample in samples)], rel=1e-9)


def test_both_workers_hold_the_same_weights(together: list[dict[str, Found]]) -> None:
    for name in TASKS:
        first, second = (worker[name]["weights"] for worker in together)
        assert all(torch.equal(value, second[part]) for part, value in first.items()), name


@pytest.mark.parametrize("name", ["validation of one", "validation of three"])
def test_validation_is_added_up_over_workers(name: str, together: list[dict[str, Found]]) -> None:
    expected = group_worker.train(TASKS[name]).state.curve.validation
    for worker in together:
        assert [point["loss"] for point in worker[name]["validation"]] == pytest.approx(
            [point["loss"] for point in expected], rel=1e-9
        )


def test_clipping_follows_the_norm_of_all_workers_together(together: list[dict[str, Found]]) -> None:
    assert_close(together[0]["clipped"]["gradients"], group_worker.train(TASKS["clipped"]).gradients)


def test_all_workers_stop_at_the_step_at_which_the_first_is_asked_and_it_saves(
    together: list[dict[str, Found]],
) -> None:
    assert [worker["stopped"]["stopped"] for worker in together] == [True, True]
    assert [list(worker["stopped"]["saved"]) for worker in together] == [[1], []]


def test_state_saved_by_a_group_continues_alone(together: list[dict[str, Found]]) -> None:
    whole = group_worker.train(TASKS["float64"])
    resumed = group_worker.train(TASKS["float64"] | {"resume": together[0]["stopped"]["saved"][1]})
    assert resumed.losses == pytest.approx(whole.losses[1:], rel=1e-9)
    assert_close([resumed.weights], [whole.weights])


def test_an_error_in_one_lane_ends_the_others() -> None:
    def run(lane: Collective) -> float:
        if lane.rank == 1:
            raise TrainingFailed("the loss is nan", at="spec.training", fix="Lower it")
        return lane.sum_number(1.0)

    with pytest.raises(TrainingFailed, match="the loss is nan"):
        run_in_lanes(2, run=run)


def test_what_all_lanes_gave_arrives_though_one_of_them_ends_at_once() -> None:
    """Else the first lane would not save what it has when all agree to stop."""
    waiting, found = Event(), list[float]()

    def run(lane: Collective) -> None:
        if lane.rank == 0:
            waiting.set()
            found.append(lane.sum_number(1.0))
            return
        waiting.wait()
        time.sleep(0.05)  # the other lane waits for this one by now
        lane.sum_number(2.0)
        raise Stopped("all agreed to stop")

    with pytest.raises(Stopped):
        run_in_lanes(2, run=run)
    assert found == [3.0]
