"""Train: make the student from the samples."""

import time

from kubedistill.contract import StageJob
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.resolution import check_keys, resolve
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import folder_of, publish, read_manifest
from kubedistill_runtime.storage.claims import end_line, take_claim
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.workers import Assignment, needs_ray, threads_per_worker, train_on_workers


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the student artifact: a model folder and its curve; goes on from the last checkpoint where there is one."""
    started = time.monotonic()
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    keys, training = resolved.keys, job.spec.training.model_copy(update={"precision": resolved.precision})
    samples = read_manifest(store, "samples", keys["samples"])
    folder = folder_of("student", keys["student"])
    workers, gpus = job.spec.student.resources.workers, job.spec.student.resources.gpus_per_worker
    if needs_ray(workers, gpus):
        engines.start_ray()
    summary = train_on_workers(
        Assignment(
            student=resolved.student, training=training, objective=resolved.objective, ce_weight=resolved.ce_weight,
            store=store.uri, samples=folder_of("samples", keys["samples"]), folder=folder,
            claim=take_claim(store, folder).number,
            threads=threads_per_worker(workers, parameters=resolved.student.parameters),
        ),
        workers=workers,
        gpus=gpus,
        report=lambda step, steps, figures: progress.working(done=step, total=steps, unit="steps", figures=figures),
    )  # fmt: skip
    summary |= {
        "objective": resolved.objective, "samples": samples["samples"], "overlong": samples["overlong"],
        "withoutLogprobs": samples["withoutLogprobs"], "workers": workers,
    }  # fmt: skip
    publish(store, "student", keys["student"], summary)
    end_line(store, folder)
    message = f"{summary['steps']:,} steps, best at {summary['bestStep']:,}"
    return Outcome(summary={**summary, "seconds": round(time.monotonic() - started, 3)}, message=message)
