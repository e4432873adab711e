"""Workers: the training loop under Ray Train, one process per worker, on CPUs or GPUs.

Workers read and write the store themselves. Ray Train carries metrics only and keeps no checkpoint of its own.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedistill.errors import KubedistillError, TrainingFailed
from kubedistill.v1alpha1 import Training
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.claims import Claim, read_latest
from kubedistill_runtime.storage.store import open_store
from kubedistill_runtime.training.samples import Sample

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Assignment:
    """What each worker is told."""

    student: Model
    training: Training
    objective: str
    ce_weight: float
    train: list[Sample]
    validation: list[Sample]
    store: str
    folder: str
    """Name of the student artifact in the store."""
    claim: int
    threads: int


class Board:
    """Where rank 0 writes how far it is, and reads whether to stop; a Ray actor."""

    def __init__(self) -> None:
        self._news: tuple[int, int, dict[str, float]] = (0, 0, {})
        self._stopping = False

    def tell(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Write the latest step; returns whether to stop."""
        self._news = (step, steps, figures)
        return self._stopping

    def read(self) -> tuple[int, int, dict[str, float]]:
        """The latest step, the number of steps, and figures."""
        return self._news

    def stop(self) -> None:
        """Ask the workers to save and leave."""
        self._stopping = True


def train_on_workers(
    assignment: Assignment, *, workers: int, gpus: int, report: Callable[[int, int, dict[str, float]], None]
) -> dict[str, Any]:
    """Run the loop on workers to its end; returns rank 0's summary.

    `report` hears of progress; what it raises (Stopped) makes the workers save and leave, and is raised again.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    board = ray.remote(num_cpus=0)(Board).remote()
    cores = int(ray.cluster_resources().get("CPU", 1))
    scratch = tempfile.mkdtemp(prefix="kd-train-")
    trainer = TorchTrainer(
        _work,
        train_loop_config={"assignment": ray.put(assignment), "board": board},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpus > 0,
            resources_per_worker={"GPU": gpus} if gpus else {"CPU": max(cores / workers, 0.01)},
        ),
        run_config=RunConfig(name="train", storage_path=scratch),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
    )  # fmt: skip
    try:
        with ThreadPoolExecutor(max_workers=1) as waiter:
            fitting = waiter.submit(trainer.fit)
            interruption = _follow(board, fitting.done, report=report)
            result = fitting.result()
    except TrainingFailedError as error:
        raise _original(error) from error
    finally:
        ray.kill(board)
        shutil.rmtree(scratch, ignore_errors=True)
    if interruption is not None:
        raise interruption
    summary: dict[str, Any] = result.return_value
    return summary


def _follow(
    board: Any, done: Callable[[], bool], *, report: Callable[[int, int, dict[str, float]], None]
) -> KubedistillError | None:
    """Pass the board's news on until the training ends; returns what interrupted it."""
    import ray

    told = 0
    while not done():
        time.sleep(_POLL_SECONDS)
        step, steps, figures = ray.get(board.read.remote())
        if step > told:
            told = step
            try:
                report(step, steps, figures)
            except KubedistillError as interruption:
                ray.get(board.stop.remote())
                while not done():
                    time.sleep(_POLL_SECONDS)
                return interruption
    return None


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """One worker's whole life; returns a summary."""
    import ray
    import ray.train
    import torch

    from kubedistill_runtime.training.collective import Alone, Group
    from kubedistill_runtime.training.loop import Hooks, Loop
    from kubedistill_runtime.training.objectives import OBJECTIVES
    from kubedistill_runtime.training.student import Student, load_language_model, save_language_model

    assignment: Assignment = ray.get(config["assignment"])
    board = config["board"]
    torch.set_num_threads(assignment.threads)
    world = ray.train.get_context().get_world_size()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    collective = Group(device) if world > 1 else Alone()
    store = open_store(assignment.store)
    claim = Claim(store, assignment.folder, assignment.claim)
    stopping = False

    def report(step: int, steps: int, figures: dict[str, float]) -> None:
        nonlocal stopping
        stopping = ray.get(board.tell.remote(step, steps, figures))

    language_model = load_language_model(assignment.student)
    student = Student(language_model, objective=OBJECTIVES[assignment.objective], ce_weight=assignment.ce_weight)
    keep = assignment.training.checkpoint.keep_last
    loop = Loop(
        student.to(device), assignment.training, assignment.train, assignment.validation, device, collective,
        Hooks(lambda step, data: claim.save(step, data, keep_last=keep), report, lambda: stopping, time.monotonic),
    )  # fmt: skip
    state = loop.run(read_latest(store, assignment.folder))
    if collective.rank == 0:
        with tempfile.TemporaryDirectory() as staging:
            dtype = assignment.student.config.get("dtype") or assignment.student.config.get("torch_dtype")
            save_language_model(language_model, Path(staging), dtype=dtype)
            store.put_folder(f"{assignment.folder}/model", Path(staging))
        store.put(f"{assignment.folder}/curve.json", json.dumps(state.curve.to_values()).encode())
    best = state.curve.best_step or state.step
    return {"steps": state.step, "bestStep": best, "validationLoss": state.best_loss}


def _original(error: Exception) -> KubedistillError:
    """The worker's own error, out of what Ray Train wrapped around it."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, KubedistillError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    first = str(failures[0] if failures else error).strip().splitlines()[-1]
    return TrainingFailed(f"a worker failed: {first}", at="Train", fix="The traceback is in driver.log")


def threads_per_worker(workers: int) -> int:
    """The cores that each worker may keep busy."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
