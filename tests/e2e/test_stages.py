"""Each stage runs alone from its job.json, as it does in a pod."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import StageJob, StageResult
from support.messages import check_facts
from support.small_job import Reference


def run_alone(name: str, *, reference: Reference, store: Path, folder: Path) -> tuple[int, StageResult]:
    (given,) = reference.store.glob(f"runs/default.small/local/{name.lower()}-1/job.json")
    job = StageJob.model_validate_json(given.read_bytes()).model_copy(update={"store": store.as_uri()})
    folder.mkdir()
    (folder / "job.json").write_text(job.to_json())
    command = [sys.executable, "-m", "kubedistill_runtime", "--job", str(folder / "job.json")]
    code = subprocess.run(command, check=False, timeout=300, capture_output=True).returncode
    return code, StageResult.model_validate_json((folder / "result.json").read_bytes())


def test_every_stage_answers_alone_on_a_finished_store(
    reference: Reference, copy_store: Callable[[], Path], tmp_path: Path
) -> None:
    store = copy_store()
    for stage in CHAIN:
        code, result = run_alone(stage.name, reference=reference, store=store, folder=tmp_path / stage.name)
        assert (code, result.outcome) == (0, "Succeeded"), result
        made = {name: result.artifacts[name] for name in stage.makes}
        assert all(artifact.complete for artifact in made.values())
    assert {name: artifact.key for name, artifact in made.items()}.keys() == {"export"}


def test_a_changed_file_is_noticed_before_a_stage_works(
    reference: Reference, copy_store: Callable[[], Path], tmp_path: Path
) -> None:
    data = reference.job.manifest.with_name("train.jsonl")
    before = data.read_text()
    store = copy_store()
    shutil.rmtree(store / "artifacts" / "samples")
    data.write_text(before + '{"prompt": "One more", "reference": "app.fix"}\n')
    try:
        code, result = run_alone("Curate", reference=reference, store=store, folder=tmp_path / "attempt")
    finally:
        data.write_text(before)
    assert (code, result.outcome, result.cause) == (2, "Failed", "user")
    check_facts(result.message, "samples", "rows")


@pytest.mark.parametrize("how", ["file", "SIGTERM"])
def test_asked_to_stop_training_saves_and_leaves(
    how: str, reference: Reference, copy_store: Callable[[], Path], tmp_path: Path
) -> None:
    store, folder = copy_store(), tmp_path / "attempt"
    (student,) = store.glob("artifacts/student/*")
    shutil.rmtree(student)
    folder.mkdir()
    (given,) = reference.store.glob("runs/default.small/local/train-1/job.json")
    job = StageJob.model_validate_json(given.read_bytes()).model_copy(update={"store": store.as_uri()})
    (folder / "job.json").write_text(job.to_json())
    process = subprocess.Popen([sys.executable, "-m", "kubedistill_runtime", "--job", str(folder / "job.json")])
    while not (folder / "progress.json").exists():
        assert process.poll() is None
    if how == "SIGTERM":
        process.terminate()
    else:
        (folder / "stop").touch()
    assert process.wait(timeout=120) == 1
    stopped = StageResult.model_validate_json((folder / "result.json").read_bytes())
    assert (stopped.outcome, stopped.cause) == ("Stopped", "none")
    (saved,) = list(student.glob("steps/*"))[-1:]
    assert saved.name.startswith("000001-")

    code, result = run_alone("Train", reference=reference, store=store, folder=tmp_path / "again")
    assert code == 0
    curves = [
        next(root.glob("artifacts/student/*/trained/curve.json")).read_text() for root in (store, reference.store)
    ]
    assert json.loads(curves[0]) == json.loads(curves[1])
    assert result.artifacts["student"].complete
