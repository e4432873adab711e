"""The store: names hold whole bytes or none, whoever writes and whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract.artifacts import AnswersFigures
from kubedistill.errors import InvalidManifest, StorageUnavailable
from kubedistill_runtime.storage.artifacts import find, publish
from kubedistill_runtime.storage.store import Store, open_store
from support.messages import CheckMessage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def test_put_replaces_and_read_returns(store: Store) -> None:
    store.put("a/b", b"first")
    store.put("a/b", b"second")
    assert store.read("a/b") == b"second"
    assert store.names("a") == ["a/b"]


def test_put_if_absent_keeps_the_first(store: Store) -> None:
    assert store.put_if_absent("a", b"first")
    assert not store.put_if_absent("a", b"second")
    assert store.read("a") == b"first"


def test_of_many_writers_exactly_one_wins(store: Store) -> None:
    wins: list[int] = []

    def write(number: int) -> None:
        if store.put_if_absent("claim", str(number).encode()):
            wins.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.read("claim") == str(wins[0]).encode()


def test_killed_writer_leaves_old_bytes_and_its_rest_is_swept(store: Store) -> None:
    store.put("big", b"old")
    script = (
        "import sys; from kubedistill_runtime.storage.store import open_store\n"
        "store = open_store(sys.argv[1]); print('go', flush=True)\n"
        "while True: store.put('big', b'new' * 5_000_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(store.root)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    until = time.monotonic() + 60
    while len(list(store.root.iterdir())) < 2:
        assert time.monotonic() < until, "it has begun to write"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert store.read("big") in (b"old", b"new" * 5_000_000)
    store.sweep()
    assert [path.name for path in store.root.iterdir()] == ["big"]


def test_full_disk_is_storage_unavailable(store: Store) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this machine has no /dev/full")
    limit = (
        "import resource, signal, sys; from kubedistill_runtime.storage.store import open_store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "store = open_store(sys.argv[1])\n"
        "try: store.put('big', b'x' * 100_000)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    run = subprocess.run([sys.executable, "-c", limit, str(store.root)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("StorageUnavailable")
    assert str(store.root) in run.stdout
    assert list(store.root.iterdir()) == []


def test_read_only_store_is_storage_unavailable(tmp_path: Path, check_message: CheckMessage) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(StorageUnavailable) as refused:
        Store(blocker).put("a", b"x")
    check_message(refused.value)


def test_unknown_scheme_is_refused_by_name(check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        open_store("s3://bucket/prefix")
    check_message(refused.value, "spec.storage.uri", "'s3'")


@given(data=st.binary(max_size=200), name=st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}", fullmatch=True))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    store = open_store(str(tmp_path_factory.mktemp("store")))
    store.put(name, data)
    assert store.read(name) == data


def test_artifact_is_complete_once_its_manifest_exists(store: Store) -> None:
    store.put("artifacts/answers/k/train.jsonl", b"{}")
    assert not find(store, "answers", "k").complete
    publish(store, "answers", "k", AnswersFigures(rows_key="r", splits={}))
    assert find(store, "answers", "k").complete
    manifest = json.loads(store.read("artifacts/answers/k/manifest.json"))
    assert manifest == {"name": "answers", "key": "k", "files": {}, "rowsKey": "r", "splits": {}}


def test_sizes_are_those_of_what_is_there_while_others_remove_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/trained/model", b"12345")
    store.put("a/steps/1", b"1")
    store.put("a/steps/2", b"22")
    assert store.sizes("a") == {"a/steps/1": 1, "a/steps/2": 2, "a/trained/model": 5}
    assert store.sizes("a/trained/model") == {"a/trained/model": 5}
    assert store.sizes("a/none") == {}
    walk = os.walk

    def walk_and_lose(path: Path) -> Iterator[object]:
        yield from list(walk(path))
        store.delete("a/steps")

    monkeypatch.setattr(os, "walk", walk_and_lose)
    assert store.sizes("a") == {"a/trained/model": 5}
