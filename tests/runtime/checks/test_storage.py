"""The store's door: who may write is found out by writing, and a refusal names the command that allows it."""

import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import StorageNotWritable, StorageUnavailable
from kubedistill_runtime.checks.storage import check_store
from kubedistill_runtime.storage.store import Store
from support.identities import run_as, shared_folder
from support.messages import CheckMessage, check_facts
from support.stage_jobs import stage_job

POD, OPENSHIFT = (65532, 65532, ()), (1000720000, 0, ())
Identity = tuple[int, int, tuple[int, ...]]


@pytest.fixture
def root() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder / "it's a store"


def check(root: Path, identity: Identity) -> None:
    uid, gid, groups = identity
    run_as(lambda: check_store(stage_job(stage="Train"), store=Store(root)), uid=uid, gid=gid, groups=groups)


def make(folder: Path, owner: str, mode: int) -> None:
    folder.mkdir(parents=True)
    uid, gid = owner.split(":")
    os.chown(folder, int(uid), int(gid))
    folder.chmod(mode)


def command_in(refusal: StorageNotWritable) -> str:
    found = re.search(r"where it is mounted: (.*); or let the cluster", refusal.fix)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("owner", "mode", "identity", "allowed"),
    [
        ("0:0", 0o755, POD, False),
        ("0:65532", 0o2775, POD, True),
        ("0:65532", 0o755, POD, False),
        ("65532:0", 0o755, POD, True),
        ("65532:0", 0o555, POD, False),
        ("0:0", 0o700, POD, False),
        ("0:2000", 0o770, POD, False),
        ("0:2000", 0o770, (65532, 65532, (2000,)), True),
        ("0:0", 0o775, OPENSHIFT, True),
        ("0:0", 0o755, OPENSHIFT, False),
    ],
)
def test_a_refusal_names_process_owner_and_mode_and_its_command_ends_it(
    owner: str, mode: int, identity: Identity, *, allowed: bool, root: Path
) -> None:
    make(root, owner, mode)
    if not allowed:
        with pytest.raises(StorageNotWritable) as refused:
            check(root, identity)
        assert (refused.value.cause, refused.value.at) == ("user", str(root))
        check_facts(refused.value.problem, f"{identity[0]}:{identity[1]}", root, owner, f"{mode:04o}")
        subprocess.run(command_in(refused.value), shell=True, check=True)
    check(root, identity)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["artifacts", "artifacts/rows", "artifacts/student", "artifacts/student/k", "rows", "digests", "speeds",
             "runs", "runs/team-a.support/one"],
)  # fmt: skip
def test_a_folder_of_another_user_is_found_wherever_the_stage_writes(name: str, root: Path) -> None:
    make(root, "0:65532", 0o2775)
    make(root / name, "0:0", 0o755)
    for folder in (root / name).parents:
        if folder.is_relative_to(root):
            os.chown(folder, 65532, 65532)
    job = stage_job(stage="Train", artifacts={"student": "k"})
    with pytest.raises(StorageNotWritable) as refused:
        run_as(lambda: check_store(job, store=Store(root)), uid=65532, gid=65532)
    check_facts(refused.value.problem, root / name)
    subprocess.run(command_in(refused.value), shell=True, check=True)
    run_as(lambda: check_store(job, store=Store(root)), uid=65532, gid=65532)


def test_a_folder_of_another_users_job_is_not_a_reason_to_refuse(root: Path) -> None:
    make(root, "0:65532", 0o2775)
    make(root / "runs" / "team-b.other", "0:0", 0o700)
    os.chown(root / "runs", 65532, 65532)
    check(root, POD)


def test_the_command_of_the_fix_creates_a_missing_store_and_changes_nothing_else(root: Path) -> None:
    with pytest.raises(StorageNotWritable) as refused:
        check(root / "deep", POD)
    check_facts(refused.value.problem, root.parent)
    assert not root.exists()
    subprocess.run(command_in(refused.value), shell=True, check=True)
    check(root / "deep", POD)
    assert (root.parent.stat().st_gid, root.stat().st_gid, (root / "deep").stat().st_gid) == (0, 0, 65532)


def test_further_groups_are_named(root: Path, check_message: CheckMessage) -> None:
    make(root, "0:0", 0o755)
    with pytest.raises(StorageNotWritable) as refused:
        check(root, (65532, 65532, (2000, 7, 65532)))
    check_message(refused.value, "65532:65532", "7,2000")


@pytest.mark.parametrize("ask", [lambda store: store.exists("runs/a"), lambda store: store.names("runs/a")])
def test_a_folder_that_hides_its_names_is_a_refusal_too(
    ask: Callable[[Store], Any], root: Path, check_message: CheckMessage
) -> None:
    make(root / "runs", "0:0", 0o700)
    with pytest.raises(StorageNotWritable) as refused:
        run_as(lambda: ask(Store(root)), uid=65532, gid=65532)
    check_message(refused.value, "0:0", "0700")


CHECK = """
import sys
from pathlib import Path
from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.storage.store import Store
try: Store(Path(sys.argv[1])).probe("", "rows")
except StorageUnavailable as error: print(error.reason, error.cause, error.fix)
"""


@pytest.mark.parametrize(
    ("prepare", "reason", "fix"),
    [
        ("mount -o remount,ro {root}", "StorageNotWritable user", "Mount it for reading and writing"),
        ("head -c 64K /dev/zero > {root}/all || true", "StorageUnavailable infrastructure", "Free some space"),
    ],
)
def test_a_read_only_mount_and_a_full_disk_are_told_apart(prepare: str, reason: str, fix: str, root: Path) -> None:
    root.mkdir()
    quoted = shlex.quote(str(root))
    script = f'mount -t tmpfs -o size=16k store {quoted} && {prepare.format(root=quoted)} && exec "$@"'
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "bash",
        "-c",
        script,
        "-",
        sys.executable,
        "-c",
        CHECK,
        str(root),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith(reason)
    assert fix in told


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_hard_links_is_named_and_no_command_for_rights(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refuse_with(code))
        with pytest.raises(StorageNotWritable) as refused:
            Store(tmp_path).probe("", "rows")
    check_facts(refused.value, "hard links", "NFS")
    assert "chgrp" not in refused.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.ESTALE])
def test_a_link_that_fails_for_another_reason_says_nothing_of_the_file_system(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_with(code))
    with pytest.raises(StorageUnavailable) as failed:
        Store(tmp_path).probe("")
    assert (failed.value.reason, failed.value.cause) == ("StorageUnavailable", "infrastructure")


def refuse_with(code: int) -> Callable[[Path, Path], None]:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(source), None, str(target))

    return refuse


def test_a_store_that_refuses_writes_costs_records_and_not_the_work() -> None:
    assert issubclass(StorageNotWritable, StorageUnavailable)
