"""Train: train the student on the samples."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from kubedistill.contract.artifacts import SamplesFigures, StudentFigures, TrainedFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.contract.summaries import TrainSummary
from kubedistill_runtime.checks.yields import check_distributions
from kubedistill_runtime.estimate.measured import training_key
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.downloads import materialize_for_workers
from kubedistill_runtime.serving.hardware import describe_processor, usable_cores
from kubedistill_runtime.speeds import TrainingSpeed, record_training
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import TRAINED, publish, read_figures, read_trained
from kubedistill_runtime.storage.claims import remove_states, take_claim
from kubedistill_runtime.training.sample_store import open_samples
from kubedistill_runtime.training.workers import Assignment, needs_ray, share_cores, train_on_workers


def run(context: StageContext) -> Outcome:
    """Make the student artifact: a model folder and its curve. Training continues from the last checkpoint, if any.

    Raises InvalidManifest if the objective needs distributions and no sample has one.
    """
    store, choices, key = context.store, context.choices, context.keys["student"]
    folder = artifact_folder("student", key)
    samples = read_figures(store, "samples", context.keys["samples"], SamplesFigures)
    check_distributions(samples, objective=choices.objective)  # another job, with another objective, may have made them
    # The student is trained already if a driver was killed between the two writes, or if another job trained it.
    trained = read_trained(store, folder) or _train(context)
    remove_states(store, folder)
    figures = StudentFigures(
        **dict(trained),
        objective=choices.objective,
        samples=samples.samples,
        overlong=samples.overlong,
        without_logprobs=samples.without_logprobs,
        workers=context.job.spec.student.resources.workers,
    )
    figures = publish(store, "student", key, figures, files=[f"{folder}/{TRAINED}"])
    summary = TrainSummary(**dict(figures), seconds=round(context.progress.seconds(), 3))
    return Outcome(summary=summary, message=f"{summary.steps:,} steps, best at {summary.best_step:,}")


def _train(context: StageContext) -> TrainedFigures:
    """Train on the job's workers and return the figures of the trained student."""
    job, choices, store = context.job, context.choices, context.store
    training = job.spec.training.model_copy(update={"precision": choices.precision})
    workers, gpus = job.spec.student.resources.workers, job.hardware_of("Train").gpus_per_pod
    folder = artifact_folder("student", choices.keys["student"])
    if needs_ray(workers, gpus):
        context.engines.start_ray()
    materialize_for_workers(choices.student, report=partial(context.progress.downloading, choices.student.source))
    pace = _Pace(context.progress)
    trained = train_on_workers(
        Assignment(
            student=choices.student,
            training=training,
            objective=choices.objective,
            ce_weight=choices.ce_weight,
            store=store.uri,
            samples=artifact_folder("samples", choices.keys["samples"]),
            folder=folder,
            claim=take_claim(store, folder).number,
            cores=share_cores(usable_cores(), workers=workers, gpus=gpus, parameters=choices.student.parameters),
            on_gpu=gpus > 0,
        ),
        workers=workers,
        gpus=gpus,
        report=pace.report,
        worked=context.progress.learned,
    )
    _record_speed(context, pace)
    return trained


@dataclass(slots=True)
class _Pace:
    """The steps between the first report and the last one, and their time."""

    progress: Progress
    first: tuple[int, float] | None = None
    last: tuple[int, float] = (0, 0.0)

    def report(self, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """Report the progress of training."""
        self.last = (step, time.monotonic())
        self.first = self.first or self.last
        self.progress.working(done=step, total=steps, unit="steps", figures=figures)


def _record_speed(context: StageContext, pace: _Pace) -> None:
    """Store how fast the student was trained, for estimates of later jobs."""
    if pace.first is None:
        return
    job, choices, steps = context.job, context.choices, pace.last[0] - pace.first[0]
    hardware, training = job.hardware_of("Train"), job.spec.training
    samples = open_samples(context.store, artifact_folder("samples", choices.keys["samples"]), "train")
    speed = TrainingSpeed(
        samples=steps * training.global_batch_size,
        sample_tokens=samples.mean_length,
        seconds=pace.last[1] - pace.first[1],
        hardware=hardware.accelerator if hardware.has_gpus else describe_processor(),
    )
    record_training(context.store, training_key(job, choices), speed, steps=steps)
