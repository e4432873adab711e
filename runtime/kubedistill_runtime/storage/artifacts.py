"""Artifacts: what a stage leaves in the store. One is complete when its manifest and all files that it lists are there.

A complete artifact is never written again: of two drivers that make the same, the first to publish wins, and the other
uses what that one made.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from kubedistill.canonical import canonical_json
from kubedistill.chain import STAGES, ArtifactName
from kubedistill.contract import ArtifactRef, StageJob, StoredModel
from kubedistill.contract.artifacts import Figures, Manifest, TrainedFigures
from kubedistill.errors import ArtifactMissing
from kubedistill.stored import read_stored_json
from kubedistill_runtime.storage.store import Store

TRAINED = "trained"
"""The part of a student's artifact that appears at once: model, curve and summary. Claims and steps come earlier."""
_MANIFEST = "manifest.json"
_Figures = TypeVar("_Figures", bound=Figures)
_Part = TypeVar("_Part", bound=StoredModel)


def folder_of(name: ArtifactName, key: str) -> str:
    """The name under which an artifact's files lie in the store."""
    return f"artifacts/{name}/{key}"


def trained_folder(store: Store, key: str) -> str:
    """The name under which a student's model and curve are; version 0.1 had them in the artifact's folder itself."""
    trained = f"{folder_of('student', key)}/{TRAINED}"
    return trained if store.exists(trained) else folder_of("student", key)


def read_trained(store: Store, folder: str) -> TrainedFigures | None:
    """The summary of the trained student in an artifact's folder; None where training has not ended."""
    try:
        return read_stored_json(TrainedFigures, store.read(f"{folder}/{TRAINED}/summary.json"))
    except FileNotFoundError:
        return None


@contextmanager
def draft_artifact(store: Store, name: ArtifactName, key: str) -> Iterator[str]:
    """Make a folder for an artifact's files, for publish to move; gives its name. What is broken goes first."""
    remove_broken(store, name, key)
    with store.draft(folder_of(name, key)) as draft:
        yield draft


def publish(
    store: Store, name: ArtifactName, key: str, figures: _Figures, *, draft: str = "", files: Iterable[str] = ()
) -> _Figures:
    """Make an artifact complete, unless it is; returns the figures of the one that is there then.

    Its files are those of the draft, which appear with the manifest, or are in the store already: `files` are the names
    of files and folders.
    """
    folder = folder_of(name, key)
    sizes = {file: size for one in files for file, size in store.sizes(one).items()}
    if draft:
        sizes |= {f"{folder}{file.removeprefix(draft)}": size for file, size in store.sizes(draft).items()}
    manifest = canonical_json(Manifest(name=name, key=key, files=sizes).to_values() | figures.to_values())
    if not draft:
        store.put_if_absent(f"{folder}/{_MANIFEST}", manifest)
    else:
        store.put(f"{draft}/{_MANIFEST}", manifest)
        while not store.move(draft, folder) and not store.exists(f"{folder}/{_MANIFEST}"):
            _clear(store, folder)
    return read_figures(store, name, key, type(figures))


def leave_draft(store: Store, name: ArtifactName, key: str, *, draft: str) -> None:
    """Leave the files of an artifact that will not be complete where people look for them."""
    store.move(draft, folder_of(name, key))


def find(store: Store, name: ArtifactName, key: str) -> ArtifactRef:
    """An artifact by key, complete or not."""
    complete = bool(key) and _is_whole(store, folder_of(name, key))
    return ArtifactRef(key=key, uri=f"{store.uri}/{folder_of(name, key)}", complete=complete)


def read_figures(store: Store, name: ArtifactName, key: str, part: type[_Part]) -> _Part:
    """Return a part of a complete artifact's manifest; raises ArtifactMissing where there is none."""
    try:
        return read_stored_json(part, store.read(f"{folder_of(name, key)}/{_MANIFEST}"))
    except FileNotFoundError as error:
        raise _missing(store, name, key) from error


def check_needs(job: StageJob, *, store: Store) -> None:
    """Raise ArtifactMissing where something that a stage reads has vanished since Prepare looked."""
    for name in STAGES[job.stage].needs:
        if name in job.artifacts and not find(store, name, job.artifacts[name]).complete:
            raise _missing(store, name, job.artifacts[name])


def remove_broken(store: Store, name: ArtifactName, key: str) -> None:
    """Remove an artifact of which files have vanished, so that it can be made again."""
    folder = folder_of(name, key)
    if store.exists(f"{folder}/{_MANIFEST}") and not _is_whole(store, folder):
        store.delete(folder)


def _is_whole(store: Store, folder: str) -> bool:
    """Whether a manifest is there and every file that it lists; version 0.1 listed none.

    A file of its own must have its size. One elsewhere, a shard of answers, is whole or damaged for all artifacts that
    name it: who reads it says which file to delete, and making this artifact again would not repair it.
    """
    try:
        files = read_stored_json(Manifest, store.read(f"{folder}/{_MANIFEST}")).files
    except FileNotFoundError:
        return False
    own = store.sizes(folder)
    return all(
        own.get(file) == size if file.startswith(f"{folder}/") else store.exists(file) for file, size in files.items()
    )


def _missing(store: Store, name: ArtifactName, key: str) -> ArtifactMissing:
    at = str(store.path(folder_of(name, key)))
    return ArtifactMissing(
        f"artifact {name} is gone, or a part of it", at=at, fix="Start the job again to make it anew"
    )


def _clear(store: Store, folder: str) -> None:
    """Remove a folder without a manifest: what was left to be looked at, or what version 0.1 was killed over.

    One that another driver has completed by now is put back.
    """
    with store.draft(folder) as aside:
        taken = f"{aside}/taken"
        if store.move(folder, taken) and store.exists(f"{taken}/{_MANIFEST}"):
            store.move(taken, folder)
