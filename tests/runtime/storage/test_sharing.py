"""Sharing: what one member of a group makes in a folder of theirs, the next can replace, delete and continue."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill.contract.artifacts import Figures
from kubedistill.errors import StorageNotWritable
from kubedistill_runtime.checks.storage import check_store
from kubedistill_runtime.export.folders import fill
from kubedistill_runtime.logs import log_to
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.storage.claims import read_latest, remove_states, take_claim
from kubedistill_runtime.storage.store import Store
from support.identities import run_as, shared_folder
from support.stage_jobs import stage_job

FIRST, SECOND = 1000720000, 1000730000


@pytest.fixture
def root() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder / "store"


def work(root: Path, *, step: int) -> None:
    """All ways in which a driver writes: claims, steps, folders, files, a log and an export; none may be refused."""
    store, folder = Store(root), "artifacts/student/k"
    check_store(stage_job(artifacts={"student": "k"}), store=store)
    claim = take_claim(store, folder)
    assert claim.number == step
    assert read_latest(store, folder) == (b"1" if step == 2 else None)
    claim.save(step, str(step).encode(), keep_last=1)
    made = root / f"made-{step}"
    made.mkdir()
    (made / "weights").write_bytes(b"w")
    store.put_folder(f"{folder}/trained", made)
    store.put("runs/team-a.support/one/report.json", str(step).encode())
    log_to(root / "runs" / "team-a.support" / "driver.log", job=stage_job())
    logging.getLogger().info("written")
    fill(
        root / "out", key=str(step), job="team/a", write=lambda folder: (folder / "weights").write_bytes(b"w") and None
    )
    if step == 2:
        publish(store, "student", "k", Figures())
        remove_states(store, folder)


@pytest.mark.parametrize(("group", "mode"), [(0, 0o775), (65532, 0o2775)], ids=["OpenShift", "fsGroup"])
@pytest.mark.usefixtures("own_logs")
def test_two_users_of_one_group_continue_with_each_others_work(group: int, mode: int, root: Path) -> None:
    root.mkdir()
    os.chown(root, 0, group)
    root.chmod(mode)
    for step, uid in enumerate((FIRST, SECOND), 1):
        run_as(lambda step=step: work(root, step=step), uid=uid, gid=group)
    assert not list(root.glob("artifacts/student/k/steps/*"))
    assert (root / "out" / "kubedistill.json").read_text() == '{"key": "2", "job": "team/a"}'
    assert len((root / "runs" / "team-a.support" / "driver.log").read_text().splitlines()) == 2
    assert {path.stat().st_gid for path in root.rglob("*")} == {group}


def test_where_only_the_owner_may_write_it_stays_so(root: Path) -> None:
    root.mkdir(mode=0o755)
    os.chown(root, FIRST, 65532)
    run_as(lambda: Store(root).put("runs/a", b""), uid=FIRST, gid=65532)
    assert [oct(path.stat().st_mode & 0o777) for path in sorted(root.rglob("*"))] == ["0o755", "0o644"]
    with pytest.raises(StorageNotWritable):
        run_as(lambda: check_store(stage_job(), store=Store(root)), uid=SECOND, gid=65532)
