"""Artifacts: complete while all their files are there, published once, and made again where something has vanished."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill.contract.artifacts import AnswersFigures, DatasetFigures, Figures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import ArtifactMissing
from kubedistill_runtime.storage.artifacts import (
    check_needs,
    draft_artifact,
    find,
    publish,
    read_figures,
    remove_broken,
)
from kubedistill_runtime.storage.store import Store
from support.stage_jobs import stage_job

FOLDER = artifact_folder("dataset", "k")
SHARD = "rows/model/shard.parquet"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


ANSWERS = AnswersFigures(rows_key="r", splits={})


def dataset(kept: int) -> DatasetFigures:
    return DatasetFigures(asked=9, kept=kept, rejected={}, keep_ratio=1.0)


def make(store: Store, *, kept: int = 1) -> DatasetFigures:
    """Publish a dataset of one part."""
    with draft_artifact(store, "dataset", "k") as draft:
        store.put(f"{draft}/part", b"x" * kept)
        return publish(store, "dataset", "k", dataset(kept), draft=draft)


def names_in(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "harm",
    [
        lambda store: store.delete(f"{FOLDER}/part"),
        lambda store: store.put(f"{FOLDER}/part", b""),
        lambda store: store.delete(f"{FOLDER}/manifest.json"),
        lambda store: store.delete(FOLDER),
    ],
    ids=["a file is gone", "a file was cut short", "its manifest is gone", "all is gone"],
)
def test_what_is_not_whole_is_not_complete_and_is_made_again(store: Store, harm: Callable[[Store], None]) -> None:
    make(store)
    assert find(store, "dataset", "k").complete
    harm(store)
    assert not find(store, "dataset", "k").complete
    assert make(store, kept=2) == dataset(2)
    assert find(store, "dataset", "k").complete
    assert names_in(store) == {f"{FOLDER}/part", f"{FOLDER}/manifest.json"}


def test_an_artifact_needs_the_files_elsewhere_that_it_names(store: Store) -> None:
    store.put(SHARD, b"answers")
    publish(store, "answers", "k", ANSWERS, files=[SHARD])
    store.put(SHARD, b"damaged")
    assert find(store, "answers", "k").complete, "making it again would not fix the shard"
    store.delete(SHARD)
    assert not find(store, "answers", "k").complete
    remove_broken(store, "answers", "k")
    store.put(SHARD, b"other answers")
    assert publish(store, "answers", "k", ANSWERS, files=[SHARD]) == ANSWERS
    assert find(store, "answers", "k").complete


def test_the_first_of_two_stays_and_the_second_hears_of_it(store: Store) -> None:
    with draft_artifact(store, "dataset", "k") as late:
        store.put(f"{late}/part", b"late")
        make(store)
        before = {name: store.path(name).stat().st_ino for name in names_in(store) if "/.tmp-" not in name}
        assert publish(store, "dataset", "k", dataset(9), draft=late) == dataset(1)
    assert {name: store.path(name).stat().st_ino for name in names_in(store)} == before
    assert publish(store, "dataset", "k", dataset(9)) == dataset(1)


def test_files_without_a_manifest_give_way(store: Store) -> None:
    """Version 0.1 wrote the files first, and may have been killed over them."""
    store.put(f"{FOLDER}/part", b"half")
    store.put(f"{FOLDER}/part-2", b"of another time")
    make(store)
    assert names_in(store) == {f"{FOLDER}/part", f"{FOLDER}/manifest.json"}


def test_a_manifest_of_version_0_1_lists_no_files(store: Store) -> None:
    store.put(
        f"{FOLDER}/manifest.json", b'{"asked":9,"keepRatio":1.0,"kept":3,"key":"k","name":"dataset","rejected":{}}'
    )
    assert find(store, "dataset", "k").complete
    assert read_figures(store, "dataset", "k", DatasetFigures) == dataset(3)


def test_a_stage_asks_for_what_it_reads_and_nothing_else(store: Store) -> None:
    job = stage_job(stage="Evaluate", artifacts=dict.fromkeys(("rows", "judge", "dataset", "student"), "k"))
    for name in ("rows", "judge", "dataset", "student"):
        with pytest.raises(ArtifactMissing) as missing:
            check_needs(job, store=store)
        assert missing.value.at == str(store.path(artifact_folder(name, "k")))  # type: ignore[arg-type]
        publish(store, name, "k", Figures())  # type: ignore[arg-type]
    check_needs(job, store=store)
