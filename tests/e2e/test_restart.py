"""Started again, a job does only what is missing."""

from collections.abc import Callable
from pathlib import Path

from support.small_job import Reference, run_job
from support.store_facts import facts_of

ALL_SKIPPED = dict.fromkeys(("Generate", "Curate", "Train", "Evaluate", "Export"), "Skipped")


def test_unchanged_it_starts_no_engine(reference: Reference, copy_store: Callable[[], Path]) -> None:
    store = copy_store()
    ended = run_job(reference.job.manifest, store)
    assert ended.code == 0
    assert ended.states() == {"Prepare": "Succeeded", **ALL_SKIPPED}
    assert facts_of(store) == facts_of(reference.store)


def test_with_another_objective_the_teacher_is_not_asked(reference: Reference, copy_store: Callable[[], Path]) -> None:
    store, training = copy_store(), reference.job.spec["training"]
    reference.job.edit(training={**training, "objective": {"type": "Sequence"}})
    try:
        ended = run_job(reference.job.manifest, store)
    finally:
        reference.job.edit(training=training)
    assert ended.code == 0
    assert ended.states() | {"Generate": "Skipped", "Curate": "Skipped"} == ended.states()
    assert ended.summary("Train")["objective"] == "Sequence"


def test_a_failed_gate_exits_with_3_and_exports_nothing(reference: Reference, copy_store: Callable[[], Path]) -> None:
    store, evaluation = copy_store(), reference.job.spec["evaluation"]
    reference.job.edit(evaluation={"gate": {"minAccuracy": 1.0}})
    try:
        ended = run_job(reference.job.manifest, store)
    finally:
        reference.job.edit(evaluation=evaluation)
    assert ended.code == 3
    assert "Export" not in ended.states()
    assert ended.events[-1]["event"] == "finished"


def test_three_workers_of_ray_train_give_the_curve_of_one(reference: Reference, copy_store: Callable[[], Path]) -> None:
    import json
    import shutil

    store, student = copy_store(), reference.job.spec["student"]
    (one,) = reference.store.glob("artifacts/student/*/trained/curve.json")
    for name in ("student", "report", "export"):
        shutil.rmtree(store / "artifacts" / name)
    reference.job.edit(student={**student, "resources": {"workers": 3}})
    try:
        ended = run_job(reference.job.manifest, store)
    finally:
        reference.job.edit(student=student)
    assert ended.code == 0, ended.stderr[-3000:]
    assert ended.summary("Train")["workers"] == 3
    (three,) = store.glob("artifacts/student/*/trained/curve.json")
    losses = [[step["loss"] for step in json.loads(path.read_text())["train"]] for path in (one, three)]
    assert len(losses[0]) == len(losses[1])
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-3
