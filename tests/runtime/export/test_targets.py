"""Export targets: filled by one rename, never over somebody else's files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubedistill.errors import InvalidManifest, StorageNotWritable
from kubedistill.v1alpha1 import Export
from kubedistill_runtime.export.targets import check_targets, fill, is_filled
from kubedistill_runtime.storage.unfinished import unfinished_name
from support.identities import run_as, shared_folder


def write(folder: Path) -> None:
    (folder / "model.safetensors").write_text("weights")


def test_fill_is_whole_and_idempotent(tmp_path: Path) -> None:
    target = tmp_path / "out" / "student"
    fill(target, key="k1", write=write)
    assert is_filled(target, key="k1")
    fill(target, key="k1", write=lambda _: pytest.fail("a filled target is written again"))
    fill(target, key="k2", write=write)
    assert is_filled(target, key="k2")
    assert [path.name for path in target.parent.iterdir()] == ["student"]


def test_failed_write_leaves_the_earlier_export(tmp_path: Path) -> None:
    target = tmp_path / "student"
    fill(target, key="k1", write=write)

    def fail(_: Path) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fill(target, key="k2", write=fail)
    assert is_filled(target, key="k1")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


KILLED = """
import os, signal, sys
from pathlib import Path
from kubedistill_runtime.export.targets import fill
def write(folder):
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
fill(Path(sys.argv[1]), key="k2", write=write)
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "student"
    fill(target, key="k1", write=write)
    (tmp_path / ".student-mine").mkdir()
    living = tmp_path / unfinished_name(".student.kubedistill-")
    living.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert is_filled(target, key="k1")
    assert len(list(tmp_path.iterdir())) == 4
    fill(target, key="k2", write=write)
    assert is_filled(target, key="k2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".student-mine", living.name, "student"]


@pytest.mark.parametrize(("age", "stays"), [(0, True), (7 * 3600, False)])
def test_what_another_pod_writes_beside_a_target_is_spared_while_it_writes(
    age: float, *, stays: bool, tmp_path: Path
) -> None:
    beside = tmp_path / f".student.kubedistill-0123456789ab-1-{'0' * 32}"
    beside.mkdir()
    os.utime(beside, (time.time() - age, time.time() - age))
    fill(tmp_path / "student", key="k", write=write)
    assert beside.exists() is stays


def test_a_target_that_can_not_be_written_is_refused_before_anything_is_spent() -> None:
    with shared_folder() as root:
        (root / "deep").mkdir()
        exports = [Export(uri="deep/new/out")]
        with pytest.raises(StorageNotWritable) as refused:
            run_as(lambda: check_targets(exports, data_root=root, key="k"), uid=65532, gid=65532)
        parent = root / "deep" / "new"
        assert f"mkdir -p {parent} && chgrp 65532 {parent} && chmod ug+rwX {parent};" in refused.value.fix
        assert list((root / "deep").iterdir()) == []


@pytest.mark.parametrize(("content", "refused"), [(None, False), ("", False), ("mine.txt", True)])
def test_foreign_files_are_refused_before_anything_is_spent(
    content: str | None, *, refused: bool, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "out").mkdir()
        if content:
            (tmp_path / "out" / content).write_text("precious")
    exports = [Export(uri="out")]
    if refused:
        with pytest.raises(InvalidManifest, match=r"spec.export\[0\].uri: .* not an export of ours"):
            check_targets(exports, data_root=tmp_path, key="k")
    else:
        check_targets(exports, data_root=tmp_path, key="k")


def test_unknown_scheme_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="'s3'"):
        check_targets([Export(uri="s3://b/x")], data_root=tmp_path, key="k")
