"""What a driver is told, where a test doesn't mind of which job."""

from typing import Any

from kubedistill.contract import JobRef, RunRef, StageJob

SPEC = {
    "task": {"type": "QA"}, "teachers": [{"name": "main", "model": {"source": "teacher"}}],
    "student": {"model": {"source": "student"}}, "data": {"train": {"uri": "train.jsonl"}},
}  # fmt: skip


def stage_job(**changes: Any) -> StageJob:
    """Return the second attempt at Train of team-a/support."""
    return StageJob(
        job=JobRef(namespace="team-a", name="support", uid="u-1"),
        run=RunRef(id="one", digest="d"),
        stage="Train",
        attempt=2,
        token="t",
        frozen_spec=SPEC,
        store="file:///store",
        data_root="file:///data",
    ).model_copy(update=changes)
