"""Train: make the student from the samples."""

import time

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import SamplesFigures, StudentFigures, TrainedFigures
from kubedistill.contract.summaries import TrainSummary
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.keys import check_keys, resolve
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import TRAINED, folder_of, publish, read_figures, read_trained
from kubedistill_runtime.storage.claims import end_line, take_claim
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.workers import Assignment, needs_ray, threads_per_worker, train_on_workers


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the student artifact: a model folder and its curve; goes on from the last checkpoint where there is one."""
    started = time.monotonic()
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    key = resolved.keys["student"]
    folder = folder_of("student", key)
    # A driver that was killed between the two writes, or another job's, has left a student that is trained already.
    trained = read_trained(store, folder) or _train(job, resolved, store=store, progress=progress, engines=engines)
    end_line(store, folder)
    samples = read_figures(store, "samples", resolved.keys["samples"], SamplesFigures)
    figures = StudentFigures(
        **dict(trained),
        objective=resolved.objective,
        samples=samples.samples,
        overlong=samples.overlong,
        without_logprobs=samples.without_logprobs,
        workers=job.spec.student.resources.workers,
    )
    figures = publish(store, "student", key, figures, files=[f"{folder}/{TRAINED}"])
    summary = TrainSummary(**dict(figures), seconds=round(time.monotonic() - started, 3))
    return Outcome(summary=summary, message=f"{summary.steps:,} steps, best at {summary.best_step:,}")


def _train(job: StageJob, resolved: Choices, *, store: Store, progress: Progress, engines: Engines) -> TrainedFigures:
    """Train on the job's workers; returns what the trained student's summary says."""
    training = job.spec.training.model_copy(update={"precision": resolved.precision})
    workers, gpus = job.spec.student.resources.workers, job.spec.student.resources.gpus_per_worker
    folder = folder_of("student", resolved.keys["student"])
    if needs_ray(workers, gpus):
        engines.start_ray()
    return train_on_workers(
        Assignment(
            student=resolved.student,
            training=training,
            objective=resolved.objective,
            ce_weight=resolved.ce_weight,
            store=store.uri,
            samples=folder_of("samples", resolved.keys["samples"]),
            folder=folder,
            claim=take_claim(store, folder).number,
            threads=threads_per_worker(workers, parameters=resolved.student.parameters),
        ),
        workers=workers,
        gpus=gpus,
        report=lambda step, steps, figures: progress.working(done=step, total=steps, unit="steps", figures=figures),
    )
