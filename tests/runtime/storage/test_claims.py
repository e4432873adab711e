"""Claims: a driver that lost its place never overtakes the one that took it."""

import errno
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubedistill_runtime.storage.claims import read_latest, remove_states, take_claim
from kubedistill_runtime.storage.store import Store

LINE = "artifacts/student/key"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_numbers_rise_and_of_many_drivers_each_gets_its_own(store: Store) -> None:
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(take_claim(store, LINE).number)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 13))
    assert take_claim(store, LINE).number == 13


def test_without_a_saved_state_there_is_nothing_to_resume(store: Store) -> None:
    take_claim(store, LINE)
    assert read_latest(store, LINE) is None


def test_the_last_few_states_are_kept_and_the_latest_is_read(store: Store) -> None:
    claim = take_claim(store, LINE)
    for step in (5, 10, 15):
        claim.save(step, f"state {step}".encode(), keep_last=2)
    assert store.names(f"{LINE}/steps") == [f"{LINE}/steps/000001-000000010", f"{LINE}/steps/000001-000000015"]
    assert read_latest(store, LINE) == b"state 15"


def test_a_driver_that_was_thought_dead_is_not_gone_on_from(store: Store) -> None:
    old = take_claim(store, LINE)
    old.save(100, b"old", keep_last=2)
    new = take_claim(store, LINE)
    new.save(60, b"new", keep_last=2)
    old.save(900, b"old, and further on", keep_last=2)
    assert read_latest(store, LINE) == b"new"


@pytest.mark.parametrize("foreign", [".DS_Store", "._000009", ".nfs0000000002273a940000254d", ".snapshot"])
def test_files_of_file_systems_and_desktops_are_no_places_in_the_line(foreign: str, store: Store) -> None:
    claim = take_claim(store, LINE)
    claim.save(5, b"first", keep_last=2)
    for folder in ("claims", "steps"):
        (store.path(LINE) / folder / foreign).write_bytes(b"of others")
    assert take_claim(store, LINE).number == 2
    claim.save(10, b"second", keep_last=2)
    assert store.names(f"{LINE}/steps") == [f"{LINE}/steps/000001-000000005", f"{LINE}/steps/000001-000000010"]
    assert read_latest(store, LINE) == b"second"


def test_a_state_that_another_nfs_client_has_open_does_not_fail_its_removal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_claim(store, LINE).save(5, b"state", keep_last=2)
    held = ".nfs0000000002273a940000254d"
    (store.path(LINE) / "steps" / held).write_bytes(b"state")
    unlink = os.unlink

    def refuse(path: str, **options: Any) -> None:
        if path == held:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        remove_states(store, LINE)
    assert not store.exists(f"{LINE}/steps")
    assert read_latest(store, LINE) is None
    store.sweep(seconds=-math.inf)
    assert [path.name for path in store.path(LINE).iterdir()] == ["claims"]


def test_a_state_is_never_rewritten(store: Store) -> None:
    claim = take_claim(store, LINE)
    claim.save(5, b"first", keep_last=2)
    claim.save(5, b"second", keep_last=2)
    assert read_latest(store, LINE) == b"first"


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10**6)), min_size=1, max_size=12)


@settings(max_examples=20)  # every state is flushed to the disk
@given(STEPS, st.integers(1, 3))
def test_whoever_saves_when_the_highest_claim_is_gone_on_from(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]], keep_last: int
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    claims = [take_claim(store, LINE) for _ in range(3)]
    for which, step in steps:
        claims[which].save(step, f"{which} {step}".encode(), keep_last=keep_last)
    which, step = max(steps)
    assert read_latest(store, LINE) == f"{which} {step}".encode()
    assert len(store.names(f"{LINE}/steps")) <= keep_last
