"""Folders of exports: filled by one rename, and never over files of somebody else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubedistill.errors import InvalidManifest, StorageNotWritable
from kubedistill.v1alpha1 import Export
from kubedistill_runtime.checks.exports import check_export_folders
from kubedistill_runtime.export.folders import MARK, fill, is_filled
from kubedistill_runtime.storage.unfinished import unfinished_name
from support.identities import run_as, shared_folder
from support.messages import CheckMessage


def write(folder: Path) -> None:
    (folder / "model.safetensors").write_text("weights")


def test_fill_is_whole_and_idempotent(tmp_path: Path) -> None:
    target = tmp_path / "out" / "student"
    fill(target, key="k1", job="team/first", write=write)
    assert is_filled(target, key="k1")
    fill(target, key="k1", job="team/first", write=lambda _: pytest.fail("a filled target is written again"))
    fill(target, key="k2", job="team/first", write=write)
    assert is_filled(target, key="k2")
    assert [path.name for path in target.parent.iterdir()] == ["student"]


def test_failed_write_leaves_the_earlier_export(tmp_path: Path) -> None:
    target = tmp_path / "student"
    fill(target, key="k1", job="team/first", write=write)

    def fail(_: Path) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fill(target, key="k2", job="team/first", write=fail)
    assert is_filled(target, key="k1")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


KILLED = """
import os, signal, sys
from pathlib import Path
from kubedistill_runtime.export.folders import fill
def write(folder):
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
fill(Path(sys.argv[1]), key="k2", job="team/first", write=write)
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "student"
    fill(target, key="k1", job="team/first", write=write)
    (tmp_path / ".student-mine").mkdir()
    living = tmp_path / unfinished_name(".student.kubedistill-")
    living.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert is_filled(target, key="k1")
    assert len(list(tmp_path.iterdir())) == 4
    fill(target, key="k2", job="team/first", write=write)
    assert is_filled(target, key="k2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".student-mine", living.name, "student"]


def test_d22_an_export_of_another_job_is_refused_when_a_job_starts_and_when_it_ends(tmp_path: Path) -> None:
    fill(tmp_path / "out", key="k1", job="team/first", write=write)
    exports = [Export(uri="out")]
    for attempt in (
        lambda: check_export_folders(exports, data_root=tmp_path, key="k2", job="team/second"),
        lambda: fill(tmp_path / "out", key="k2", job="team/second", write=write),
    ):
        with pytest.raises(InvalidManifest) as refused:
            attempt()
        assert "team/first" in refused.value.problem
    assert is_filled(tmp_path / "out", key="k1")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing else is left"


def test_d22_a_later_run_of_the_job_replaces_its_export(tmp_path: Path) -> None:
    fill(tmp_path / "out", key="k1", job="team/first", write=write)
    check_export_folders([Export(uri="out")], data_root=tmp_path, key="k2", job="team/first")
    fill(tmp_path / "out", key="k2", job="team/first", write=write)
    assert is_filled(tmp_path / "out", key="k2")
    check_export_folders([Export(uri="out")], data_root=tmp_path, key="k2", job="team/second")
    fill(tmp_path / "out", key="k2", job="team/second", write=lambda _: pytest.fail("it is there"))


def test_d22_an_export_of_0_1_names_no_job_and_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARK).write_text('{"key": "k1"}')
    fill(tmp_path / "out", key="k2", job="team/first", write=write)
    assert is_filled(tmp_path / "out", key="k2")


def test_d22_what_somebody_put_there_after_the_start_is_not_removed(
    tmp_path: Path, check_message: CheckMessage
) -> None:
    check_export_folders([Export(uri="out")], data_root=tmp_path, key="k1", job="team/first")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidManifest) as refused:
        fill(tmp_path / "out", key="k1", job="team/first", write=write)
    check_message(refused.value)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("mark", ["", "[]", "not JSON", '{"key": 7}'])
def test_d22_a_mark_that_is_not_ours_is_somebody_else_s(mark: str, tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARK).write_text(mark)
    with pytest.raises(InvalidManifest) as refused:
        check_export_folders([Export(uri="out")], data_root=tmp_path, key="k", job="team/first")
    check_message(refused.value)


@pytest.mark.parametrize(("age", "stays"), [(0, True), (7 * 3600, False)])
def test_what_another_pod_writes_next_to_a_target_is_spared_while_it_writes(
    age: float, *, stays: bool, tmp_path: Path
) -> None:
    beside = tmp_path / f".student.kubedistill-0123456789ab-1-{'0' * 32}"
    beside.mkdir()
    os.utime(beside, (time.time() - age, time.time() - age))
    fill(tmp_path / "student", key="k", job="team/first", write=write)
    assert beside.exists() is stays


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_spent() -> None:
    with shared_folder() as root:
        (root / "deep").mkdir()
        exports = [Export(uri="deep/new/out")]
        with pytest.raises(StorageNotWritable) as refused:
            run_as(
                lambda: check_export_folders(exports, data_root=root, key="k", job="team/first"), uid=65532, gid=65532
            )
        parent = root / "deep" / "new"
        assert f"mkdir -p {parent} && chgrp 65532 {parent} && chmod ug+rwX {parent};" in refused.value.fix
        assert list((root / "deep").iterdir()) == []


@pytest.mark.parametrize(("content", "refused"), [(None, False), ("", False), ("mine.txt", True)])
def test_foreign_files_are_refused_before_anything_is_spent(
    content: str | None, *, refused: bool, tmp_path: Path, check_message: CheckMessage
) -> None:
    if content is not None:
        (tmp_path / "out").mkdir()
        if content:
            (tmp_path / "out" / content).write_text("precious")
    exports = [Export(uri="out")]
    if refused:
        with pytest.raises(InvalidManifest) as refused:
            check_export_folders(exports, data_root=tmp_path, key="k", job="team/first")
        check_message(refused.value, "spec.export[0].uri")
    else:
        check_export_folders(exports, data_root=tmp_path, key="k", job="team/first")


def test_unknown_scheme_is_named(tmp_path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        check_export_folders([Export(uri="s3://b/x")], data_root=tmp_path, key="k", job="team/first")
    check_message(refused.value, "'s3'")
