"""Unfinished files: nobody reads them, whoever lives keeps them, and whoever was killed leaves them to the next."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from kubedistill.errors import StorageNotWritable, StorageUnavailable
from kubedistill_runtime.storage.claims import remove_states
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.storage.unfinished import ABANDONED_SECONDS, discard, unfinished_name

HOUR = 3600.0
POD = "0123456789ab"
"""A machine or pod that is not this one."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "parts" / "weights").write_bytes(b"w" * 100_000)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def leave(store: Store, name: str, *, age: float, folder: bool = False) -> Path:
    """Return what a writer left at some time, by the clock of whoever dated it."""
    path = store.path(f"artifacts/student/k/{name}")
    inner = path / "model" / "weights" if folder else path
    inner.parent.mkdir(parents=True, exist_ok=True)
    inner.write_bytes(b"half")
    for one in (inner, *inner.parents):
        if one.is_relative_to(path):
            os.utime(one, (time.time() - age, time.time() - age))
    return path


def test_a_folder_appears_whole_and_the_first_stays(store: Store, model: Path) -> None:
    assert store.put_folder("student/trained", model)
    first = store.path("student/trained/config.json").stat().st_ino
    (model / "config.json").write_text('{"other": 1}')
    assert not store.put_folder("student/trained", model)
    assert store.path("student/trained/config.json").stat().st_ino == first
    assert names_in(store.root) == ["student/trained/config.json", "student/trained/parts/weights"]


def test_of_writers_that_live_at_once_one_wins_with_all_its_files(store: Store, tmp_path: Path) -> None:
    won: list[str] = []

    def write(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        for part in range(20):
            (folder / str(part)).write_text(name)
        if store.put_folder("trained", folder):
            won.append(name)

    threads = [threading.Thread(target=write, args=(f"writer-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert {path.read_text() for path in store.path("trained").iterdir()} == set(won)
    assert [path.name for path in store.root.iterdir()] == ["trained"]


KILLED = """
import os, signal, sys
from pathlib import Path
from kubedistill_runtime.storage import unfinished
from kubedistill_runtime.storage.store import Store
sync = unfinished.shutil.copyfile
def copy(source, target):
    if Path(source).name == "weights": os.kill(os.getpid(), signal.SIGKILL)
    return sync(source, target)
unfinished.shutil.copyfile = copy
Store(Path(sys.argv[1])).put_folder("student/trained", Path(sys.argv[2]))
"""


def test_a_killed_writer_publishes_nothing_and_the_next_sweep_removes_its_files(store: Store, model: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.root), str(model)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not store.exists("student/trained")
    assert store.names("student") == []
    assert len(names_in(store.root)) <= 1
    store.sweep()
    assert list(store.path("student").iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("writer", "age", "stays"),
    [
        pytest.param("this process", 2 * HOUR, True, id="alive here"),
        pytest.param(f"{POD}-1", 0, True, id="writing in another pod"),
        pytest.param(f"{POD}-1", HOUR, True, id="writing, dated by a clock an hour behind"),
        pytest.param(f"{POD}-1", -HOUR, True, id="writing, dated by a clock an hour ahead"),
        pytest.param(f"{POD}-1", ABANDONED_SECONDS + HOUR, False, id="silent in another pod"),
        pytest.param("1", 0, True, id="of 0.1, with the number of a process that lives here or elsewhere"),
        pytest.param("999999999", HOUR, True, id="of 0.1, maybe of another pod"),
        pytest.param("471", ABANDONED_SECONDS + HOUR, False, id="of 0.1, silent"),
    ],
)
def test_a_sweep_spares_whoever_may_live(writer: str, age: float, *, stays: bool, folder: bool, store: Store) -> None:
    name = unfinished_name() if writer == "this process" else f".tmp-{writer}-{uuid.uuid4().hex}"
    left = leave(store, name, age=age, folder=folder)
    store.sweep()
    assert left.exists() is stays
    assert store.names("artifacts/student/k") == []


@pytest.mark.parametrize("name", [".tmp-mine", ".tmp-471-notes", "tmp-471-" + "0" * 32, ".git"])
def test_a_sweep_takes_nothing_that_it_did_not_name(name: str, store: Store) -> None:
    left = leave(store, name, age=100 * HOUR)
    store.sweep()
    assert left.exists()


def test_where_a_file_system_has_a_clock_of_its_own_age_is_told_by_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave(store, f".tmp-{POD}-1-{uuid.uuid4().hex}", age=0)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    store.sweep()
    assert left.exists()


def test_once_a_line_has_its_work_published_nothing_unfinished_stays(store: Store) -> None:
    left = leave(store, f".tmp-{POD}-1-{uuid.uuid4().hex}", age=0, folder=True)
    store.put("artifacts/student/k/steps/000001-000000001", b"state")
    store.put("artifacts/student/k/claims/000001", b"")
    remove_states(store, "artifacts/student/k")
    assert not left.exists()
    assert names_in(store.path("artifacts/student/k")) == ["claims/000001"]


def test_a_writer_whose_folder_was_taken_publishes_no_part_of_it(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_and_wait(path: Path) -> None:
        for left in store.root.glob(".tmp-*"):
            discard(left)

    monkeypatch.setattr("kubedistill_runtime.storage.store.sync", take_and_wait)
    with pytest.raises(FileNotFoundError):
        store.put_folder("trained", model)
    assert list(store.root.iterdir()) == []


FULL = """
import sys
from pathlib import Path
from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.export.folders import fill
from kubedistill_runtime.export import FORMATS
store, model = Store(Path(sys.argv[1])), Path(sys.argv[2])
for write in (lambda: store.put_folder("trained", model), lambda: store.put("weights", model / "parts" / "weights"),
              lambda: fill(store.root / "out", key="k", job="t/a", write=lambda f: FORMATS["Safetensors"](model, f))):
    try: write()
    except StorageUnavailable as error: print(error.reason, "|", error.problem, "|", error.fix)
print(sorted(path.name for path in store.root.iterdir()))
"""


@pytest.mark.parametrize(
    ("options", "reason", "says"),
    [
        ("size=64k", StorageUnavailable.reason, "No space left on device"),
        ("ro", StorageNotWritable.reason, "Read-only file system"),
    ],
)
def test_on_a_full_or_read_only_disk_no_part_is_left(
    options: str, reason: str, says: str, tmp_path: Path, model: Path
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    script = f'mount -t tmpfs -o {options} store {root} && exec "$@"'
    command = [sys.executable, "-c", FULL, str(root), str(model)]
    mounted = ["unshare", "--map-root-user", "--mount", "bash", "-c", script, "-", *command]
    *told, left = subprocess.run(mounted, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" | ")[0] for line in told] == [reason] * 3
    assert all(says in line for line in told)
    assert left == "[]"
