"""Data files of the Hugging Face hub: hf://datasets/OWNER/NAME[@REVISION]/PATH, with one commit for a whole run."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidManifest
from kubedistill.paths import DATASET, HUB_SCHEME, REVISION
from kubedistill_runtime.hub import fetch_data_file
from kubedistill_runtime.revisions import read_commit, record_commit, record_name
from kubedistill_runtime.storage.store import locate_store

_URI = re.compile(rf"{DATASET}(?:{REVISION})?/(.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORM = "Write hf://datasets/OWNER/NAME/PATH or hf://datasets/OWNER/NAME@REVISION/PATH"


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a dataset; without a revision, of its main branch."""

    repository: str
    revision: str | None
    name: str


def parse_hub_uri(uri: str | None, *, at: str) -> HubFile | None:
    """Return the file of a dataset that a URI names; None for any other scheme.

    Raises InvalidManifest, with the field, for a URI of the hub that names no file of a dataset.
    """
    if uri is None or not uri.startswith(HUB_SCHEME):
        return None
    found = _URI.fullmatch(uri)
    if found is None or found[3].endswith("/") or ".." in unquote(found[3]).split("/"):
        raise InvalidManifest(f"{uri} names no file of a dataset", at=at, fix=_FORM)
    repository, revision, name = found.groups()
    return HubFile(repository, unquote(revision) if revision else None, unquote(name))


def find_hub_file(file: HubFile, *, job: StageJob, at: str, fetch: bool) -> Path:
    """Return the path of a file of a dataset on this machine; without `fetch`, nothing is downloaded or recorded.

    The first download of a run records the commit of the branch or tag in the store, and the run keeps to that commit,
    even if it is continued after the branch has moved. Raises the errors of fetch_data_file.
    """
    store, name = locate_store(job.store), record_name(job, file.repository, file.revision)
    if (recorded := read_commit(store, name)) is not None:
        return fetch_data_file(file.repository, name=file.name, revision=recorded, at=at, fetch=fetch)
    path = fetch_data_file(file.repository, name=file.name, revision=file.revision, at=at, fetch=fetch)
    if not fetch:
        return path
    commit = commit_of(path)
    if record_commit(store, name, repository=file.repository, commit=commit) == commit:
        return path
    return find_hub_file(file, job=job, at=at, fetch=fetch)


def commit_of(path: Path) -> str:
    """Return the commit of a downloaded file, which is the name of a folder in the hub's cache."""
    return next(part for part in path.parts if _COMMIT.fullmatch(part))
