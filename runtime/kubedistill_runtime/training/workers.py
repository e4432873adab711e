"""Workers: the training loop under Ray Train, one process per worker, on CPUs or GPUs.

Workers read and write the store themselves. Ray Train only transports metrics and stores no checkpoints.
"""

import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from kubedistill.contract.artifacts import TrainedFigures
from kubedistill.errors import KubedistillError, TrainingFailed
from kubedistill.v1alpha1 import Checkpoint, Training
from kubedistill_runtime.dependencies import missing_dependency
from kubedistill_runtime.models import Model
from kubedistill_runtime.root_cause import describe_cause
from kubedistill_runtime.storage.artifacts import TRAINED, read_trained
from kubedistill_runtime.storage.claims import Claim, read_latest
from kubedistill_runtime.storage.store import Store, open_store
from kubedistill_runtime.training.progress_channel import LocalChannel, ProgressChannel, RemoteChannel
from kubedistill_runtime.training.sample_store import open_samples
from kubedistill_runtime.weights import materialize

if TYPE_CHECKING:
    from ray.train import Result, ScalingConfig
    from transformers import PreTrainedModel

    from kubedistill_runtime.training.state import State

Report = Callable[[int, int, dict[str, float]], None]
"""Receives (step, steps, figures)."""

_POLL_SECONDS = 0.25
_SIGN_SECONDS = 1.0
_SMALL = 10_000_000  # parameters


@dataclass(frozen=True, slots=True)
class Cores:
    """How one worker uses its cores."""

    lanes: int
    """Threads with a part of each step; see training/lanes.py."""
    threads: int
    """Threads of each operation."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The work of each worker."""

    student: Model
    training: Training
    objective: str
    ce_weight: float
    store: str
    samples: str
    """Folder of the samples artifact in the store."""
    folder: str
    """Folder of the student artifact in the store."""
    claim: int
    cores: Cores
    on_gpu: bool


def needs_ray(workers: int, gpus: int) -> bool:
    """Return whether training needs separate workers; a single CPU worker is a thread of the driver."""
    return workers > 1 or gpus > 0


def train_on_workers(
    assignment: Assignment, *, workers: int, gpus: int, report: Report, worked: Callable[[], None]
) -> TrainedFigures:
    """Run the loop on workers to its end; returns the summary of the trained student.

    `report` receives the progress, and `worked` is called while they compute. If `report` raises (Stopped), the workers
    save and stop, and the error is raised again.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    separate = needs_ray(workers, gpus)
    channel: ProgressChannel = RemoteChannel() if separate else LocalChannel()
    with tempfile.TemporaryDirectory(prefix="kd-train-") as scratch, ThreadPoolExecutor(max_workers=1) as waiter:
        trainer = TorchTrainer(
            _work,
            train_loop_config=_Config(assignment=assignment, channel=channel),
            scaling_config=_scale(workers, gpus) if separate else ScalingConfig(num_workers=0),
            run_config=RunConfig(name="train", storage_path=scratch),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        )
        fitting = waiter.submit(trainer.fit)
        try:
            _follow(channel, fitting, report=report, worked=worked)
        except BaseException:  # Stopped, Ctrl-C or SIGTERM: raise it again when the workers have saved
            channel.stop()
            raise
        try:
            trained: TrainedFigures = fitting.result().return_value
        except TrainingFailedError as error:
            raise _original(error) from error
    return trained


def _scale(workers: int, gpus: int) -> "ScalingConfig":
    import ray
    from ray.train import ScalingConfig

    cores = int(ray.cluster_resources().get("CPU", 1))
    resources = {"GPU": gpus} if gpus else {"CPU": max(cores / workers, 0.01)}
    return ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources)


def _follow(channel: ProgressChannel, fitting: "Future[Result]", *, report: Report, worked: Callable[[], None]) -> None:
    """Report the progress in the channel until the training ends."""
    reported, signs = 0, 0
    while not fitting.done():
        time.sleep(_POLL_SECONDS)
        latest = channel.read()
        if latest.signs > signs:
            signs = latest.signs
            worked()
        if latest.step > reported:
            reported = latest.step
            report(latest.step, latest.steps, latest.figures)


class _Config(TypedDict):
    """The configuration that Ray Train passes to each worker."""

    assignment: Assignment
    channel: ProgressChannel


def _work(config: _Config) -> TrainedFigures | None:
    """Run one worker; rank 0 returns the summary of the trained student."""
    import ray.train
    import torch

    from kubedistill_runtime.training.collective import Alone, Collective, Group
    from kubedistill_runtime.training.lanes import train_in_lanes
    from kubedistill_runtime.training.loop import Hooks, Loop
    from kubedistill_runtime.training.objectives import OBJECTIVES
    from kubedistill_runtime.training.student import Student, load_language_model

    assignment, channel = config["assignment"], config["channel"]
    torch.set_num_threads(assignment.cores.threads)
    world = ray.train.get_context().get_world_size()
    device = torch.device("cuda" if assignment.on_gpu else "cpu")
    store = open_store(assignment.store)
    first = _FirstWorker(channel, Claim(store, assignment.folder, assignment.claim), assignment.training.checkpoint)

    def make_loop(student: Student, collective: Collective) -> Loop:
        train, validation = (open_samples(store, assignment.samples, split) for split in ("train", "validation"))
        hooks = Hooks(first.save, first.report, first.note_work, first.is_stopping, time.monotonic)
        return Loop(student, assignment.training, train, validation, device, collective, hooks)

    source = replace(assignment.student, path=materialize(assignment.student))
    language_model = load_language_model(source)
    student = Student(language_model, objective=OBJECTIVES[assignment.objective], ce_weight=assignment.ce_weight)
    resume = read_latest(store, assignment.folder)
    collective = Group(device) if world > 1 else Alone()
    if assignment.cores.lanes > 1:
        state = train_in_lanes(student, lanes=assignment.cores.lanes, make_loop=make_loop, resume=resume)
    else:
        state = make_loop(student.to(device), collective).run(resume)
    return _publish(assignment, language_model, state, source=source, store=store) if collective.rank == 0 else None


@dataclass(slots=True)
class _FirstWorker:
    """What rank 0 tells the driver and stores."""

    channel: ProgressChannel
    claim: Claim
    checkpoint: Checkpoint
    stopping: bool = False
    saved_at: float | None = None
    noted_at: float = 0.0

    def save(self, step: int, data: bytes) -> None:
        """Store a state of the training."""
        self.claim.save(step, data, keep_last=self.checkpoint.keep_last)
        self.saved_at = time.time()

    def report(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Publish a step."""
        saved = {} if self.saved_at is None else {"checkpointAt": self.saved_at}
        self.stopping = self.channel.publish(step, steps, figures | saved)

    def note_work(self) -> None:
        """Say that it computes, not more often than somebody needs to know."""
        if time.monotonic() - self.noted_at >= _SIGN_SECONDS:
            self.noted_at = time.monotonic()
            self.channel.note_work()

    def is_stopping(self) -> bool:
        """Return whether the driver requested a stop, as of the last step."""
        return self.stopping


def _publish(
    assignment: Assignment, language_model: "PreTrainedModel", state: "State", *, source: Model, store: Store
) -> TrainedFigures:
    """Publish the trained student and the companions of its source, unless it exists; returns the published summary."""
    from kubedistill_runtime.training.companions import explicit_stop_ids, write_companions
    from kubedistill_runtime.training.student import save_language_model

    with tempfile.TemporaryDirectory() as folder:
        staging = Store(Path(folder))
        dtype = source.config.get("dtype") or source.config.get("torch_dtype")
        save_language_model(language_model, staging.path("model"), dtype=dtype)
        write_companions(source.path, store=staging, folder="model", generation=explicit_stop_ids(source))
        staging.put("curve.json", json.dumps(state.curve.to_values(), allow_nan=False).encode())
        best = state.curve.best_step or state.step
        summary = TrainedFigures(steps=state.step, best_step=best, validation_loss=state.best_loss)
        staging.put("summary.json", json.dumps(summary.to_values(), allow_nan=False).encode())
        store.put_folder(f"{assignment.folder}/{TRAINED}", staging.root)
    published = read_trained(store, assignment.folder)
    assert published is not None, "this driver or another one has published it"
    return published


def _original(error: Exception) -> KubedistillError:
    """Return the worker's own error from Ray Train's error."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, KubedistillError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    first = failures[0] if failures else error
    return missing_dependency(first, at="Train") or TrainingFailed(
        f"a worker failed: {describe_cause(first)}", at="Train", fix="The traceback is in driver.log"
    )


def share_cores(cores: int, *, workers: int, gpus: int, parameters: int) -> Cores:
    """Return how each worker uses its part of a machine's cores.

    Operations of a small model are too small to be shared by threads. On a CPU, two lanes share its steps instead; with
    more, each has so few samples that the fixed cost of a step dominates.
    """
    if parameters >= _SMALL:
        return Cores(lanes=1, threads=max(1, cores // workers))
    return Cores(lanes=1 if needs_ray(workers, gpus) else min(2, cores), threads=1)
