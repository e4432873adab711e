"""Artifacts: the results of stages in the store. One is complete if its manifest and all files listed in it exist.

An artifact is the folder `artifacts/<name>/<key>`, in which `manifest.json` lists the files and has the figures. Files
that several artifacts share, such as shards of answers, are listed but are in other folders.

A complete artifact is never written again. If two drivers make the same one, the first to publish wins, and the other
uses the published one. Every function raises what the store raises.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from kubedistill.canonical import canonical_json
from kubedistill.chain import STAGES, ArtifactName
from kubedistill.contract import ArtifactRef, StageJob, StoredModel
from kubedistill.contract.artifacts import Figures, Manifest, TrainedFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import ArtifactMissing
from kubedistill.stored import read_stored_json
from kubedistill_runtime.storage.store import Store

TRAINED = "trained"
"""The part of a student's artifact that is published at once: model, curve and summary."""
_MANIFEST = "manifest.json"
_Figures = TypeVar("_Figures", bound=Figures)
_Part = TypeVar("_Part", bound=StoredModel)


def trained_folder(store: Store, key: str) -> str:
    """Return the folder of a student's model and curve; version 0.1 had them in the artifact's folder itself."""
    trained = f"{artifact_folder('student', key)}/{TRAINED}"
    return trained if store.exists(trained) else artifact_folder("student", key)


def read_trained(store: Store, folder: str) -> TrainedFigures | None:
    """Return the summary of the trained student in an artifact's folder, or None if training has not ended."""
    try:
        return read_stored_json(TrainedFigures, store.read(f"{folder}/{TRAINED}/summary.json"))
    except FileNotFoundError:
        return None


@contextmanager
def draft_artifact(store: Store, name: ArtifactName, key: str) -> Iterator[str]:
    """Remove a broken artifact, make a folder for new files, and yield its name; publish moves it into place.

    What publish has not moved is removed when the context ends.
    """
    remove_broken(store, name, key)
    with store.draft(artifact_folder(name, key)) as draft:
        yield draft


def publish(
    store: Store, name: ArtifactName, key: str, figures: _Figures, *, draft: str = "", files: Iterable[str] = ()
) -> _Figures:
    """Complete an artifact unless it is complete already; returns the figures of the published one.

    Its files are those of the draft, which is moved into place with the manifest, or they are in the store already:
    `files` names such files and folders. Raises ArtifactMissing if the published one is removed at the same time.
    """
    folder = artifact_folder(name, key)
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
    """Move the files of an incomplete artifact to its folder, where a person looks for them."""
    store.move(draft, artifact_folder(name, key))


def find(store: Store, name: ArtifactName, key: str) -> ArtifactRef:
    """Return the reference to an artifact, complete or not."""
    complete = bool(key) and _is_whole(store, artifact_folder(name, key))
    return ArtifactRef(key=key, uri=f"{store.uri}/{artifact_folder(name, key)}", complete=complete)


def are_complete(store: Store, names: Iterable[ArtifactName], *, keys: Mapping[ArtifactName, str]) -> bool:
    """Return whether the store has all of these artifacts, each under its key."""
    return all(find(store, name, keys[name]).complete for name in names)


def read_figures(store: Store, name: ArtifactName, key: str, part: type[_Part]) -> _Part:
    """Return a part of a complete artifact's manifest; raises ArtifactMissing if there is none."""
    try:
        return read_stored_json(part, store.read(f"{artifact_folder(name, key)}/{_MANIFEST}"))
    except FileNotFoundError as error:
        raise _missing(store, name, key) from error


def check_needs(job: StageJob, *, store: Store) -> None:
    """Check that every artifact that a stage reads is still complete; raises ArtifactMissing."""
    for name in STAGES[job.stage].needs:
        if name in job.artifacts and not find(store, name, job.artifacts[name]).complete:
            raise _missing(store, name, job.artifacts[name])


def remove_broken(store: Store, name: ArtifactName, key: str) -> None:
    """Remove an artifact that has lost files, so that it can be made again."""
    folder = artifact_folder(name, key)
    if store.exists(f"{folder}/{_MANIFEST}") and not _is_whole(store, folder):
        store.delete(folder)


def _is_whole(store: Store, folder: str) -> bool:
    """Return whether the manifest and every file that it lists exist; manifests of version 0.1 list none.

    A file in the artifact's folder must have the listed size. A file elsewhere is a shard of answers, which several
    artifacts share. Making this artifact again would not repair it; its reader names the file to delete.
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
    at = str(store.path(artifact_folder(name, key)))
    return ArtifactMissing(
        f"artifact {name} or a part of it is gone", at=at, fix="Start the job again to make it again"
    )


def _clear(store: Store, folder: str) -> None:
    """Remove a folder without a manifest: a draft that was kept for a person, or the rest of a killed version 0.1.

    If another driver has completed it in the meantime, put it back.
    """
    with store.draft(folder) as aside:
        taken = f"{aside}/taken"
        if store.move(folder, taken) and store.exists(f"{taken}/{_MANIFEST}"):
            store.move(taken, folder)
