"""Train: make the student from the kept answers."""

import time

from kubedistill.contract import StageJob
from kubedistill.errors import LowYield
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.curation.dataset import read_dataset
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.resolution import check_keys, resolve
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import folder_of, publish
from kubedistill_runtime.storage.claims import take_claim
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from kubedistill_runtime.training.companions import write_companions
from kubedistill_runtime.training.samples import make_samples
from kubedistill_runtime.training.student_format import make_rendering
from kubedistill_runtime.training.workers import Assignment, needs_ray, threads_per_worker, train_on_workers


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the student artifact: a model folder and its curve; goes on from the last checkpoint where there is one."""
    started = time.monotonic()
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    keys, training = resolved.keys, job.spec.training.model_copy(update={"precision": resolved.precision})
    progress.loading("preparing samples")
    rendering = make_rendering(resolved)

    def samples_of(answered: list[Answered]) -> tuple[list, int]:  # type: ignore[type-arg]
        return make_samples(answered, rendering=rendering, max_length=resolved.max_length)

    train, overlong = samples_of(read_dataset(store, keys["dataset"]))
    validation, _ = samples_of(_validation(job, store=store, rows=keys["rows"], judge=keys["judge"]))
    if not train:
        raise LowYield(
            f"all {overlong} samples are longer than maxLength", at="spec.training.maxLength", fix="Raise it"
        )
    folder = folder_of("student", keys["student"])
    workers, gpus = job.spec.student.resources.workers, job.spec.student.resources.gpus_per_worker
    if needs_ray(workers, gpus):
        engines.start_ray()
    summary = train_on_workers(
        Assignment(
            student=resolved.student, training=training, objective=resolved.objective, ce_weight=resolved.ce_weight,
            train=train, validation=validation, store=store.uri, folder=folder,
            claim=take_claim(store, folder).number,
            threads=threads_per_worker(workers, parameters=resolved.student.parameters),
        ),
        workers=workers,
        gpus=gpus,
        report=lambda step, steps, figures: progress.working(done=step, total=steps, unit="steps", figures=figures),
    )  # fmt: skip
    write_companions(resolved.student.path, store=store, folder=f"{folder}/model")
    summary |= {
        "objective": resolved.objective, "samples": len(train), "overlong": overlong,
        "withoutLogprobs": sum(sample.top is None for sample in train), "workers": workers,
    }  # fmt: skip
    publish(store, "student", keys["student"], summary)
    store.delete(f"{folder}/steps")
    message = f"{summary['steps']:,} steps, best at {summary['bestStep']:,}"
    return Outcome(summary={**summary, "seconds": round(time.monotonic() - started, 3)}, message=message)


def _validation(job: StageJob, *, store: Store, rows: str, judge: str) -> list[Answered]:
    """The teacher's greedy answers, or the references where the answers are given; cut-off answers teach nothing."""
    if job.spec.data.train.answers == "Given":
        records = read_rows(store, rows, "validation")
        return given_answers(
            (record for record in records if record.references), every_turn=job.spec.data.train.targets == "All"
        )
    answered = read_answer_set(store, "judge", judge, "validation")
    return [one for one in answered if one.answer.turns and all(turn.finish == "stop" for turn in one.answer.turns)]
