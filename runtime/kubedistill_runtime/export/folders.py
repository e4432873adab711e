"""Folders of exports: filled by one rename, which never overwrites files of others."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import InvalidManifest
from kubedistill.paths import local_path
from kubedistill.v1alpha1 import Export
from kubedistill_runtime.storage.failures import storage_errors
from kubedistill_runtime.storage.sharing import make_folder, share
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.storage.unfinished import (
    discard,
    is_abandoned,
    is_unfinished,
    unfinished_name,
)

MARK = "kubedistill.json"
"""The file in each exported folder that marks it as ours; it has the key of the export and the job."""
_STAGING = ".kubedistill-"


def export_path(export: Export, *, data_root: Path, at: str) -> Path | None:
    """Return the folder outside the store that an export is copied to, or None if it stays in the store."""
    return None if export.uri is None else local_path(export.uri, root=data_root, at=at)


def export_paths(exports: Sequence[Export], *, data_root: Path, store: Store, key: str) -> list[Path]:
    """Return the folder of each export: the one that it is copied to, or its folder in the store."""
    found = []
    for index, export in enumerate(exports):
        own = store.path(f"{artifact_folder('export', key)}/{index}-{export.format.lower()}")
        found.append(export_path(export, data_root=data_root, at=f"spec.export[{index}].uri") or own)
    return found


def is_filled(folder: Path, *, key: str) -> bool:
    """Return whether a folder already has the complete export of this key."""
    return _read_mark(folder).get("key") == key


def are_filled(exports: Sequence[Export], *, data_root: Path, store: Store, key: str) -> bool:
    """Return whether the folder of every export has the complete export of this key."""
    return all(
        is_filled(folder, key=key) for folder in export_paths(exports, data_root=data_root, store=store, key=key)
    )


def check_owner(folder: Path, *, job: str, at: str) -> None:
    """Raise InvalidManifest if a folder has somebody else's files, or the export of another job."""
    mark = _read_mark(folder)
    if not mark and folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InvalidManifest(f"{folder} has files that are not from an export", at=at, fix="Name a new folder")
    if (owner := mark.get("job", job)) != job:
        fix = "Name a new folder, or remove that one"
        raise InvalidManifest(f"{folder} has the export of job {owner}", at=at, fix=fix)


def fill(folder: Path, *, key: str, job: str, write: Callable[[Path], None]) -> None:
    """Put an export into its folder by one rename, replacing an earlier export of the same job.

    Raises InvalidManifest if somebody else has put files there since the job started.
    """
    if is_filled(folder, key=key):
        return
    check_owner(folder, job=job, at="spec.export")
    prefix = f".{folder.name}{_STAGING}"
    staging, replaced = (folder.with_name(unfinished_name(prefix)) for _ in range(2))
    try:
        with storage_errors(folder.parent, whole=False):
            make_folder(staging)
            _sweep(folder.parent, prefix=prefix)
            write(staging)
            (staging / MARK).write_text(json.dumps({"key": key, "job": job}))
            share(staging / MARK)
            _replace(folder, staging, replaced=replaced, key=key, job=job)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _read_mark(folder: Path) -> dict[str, str]:
    """Return the content of our mark in a folder, or an empty mapping if there is none. Marks of 0.1 name no job."""
    try:
        mark = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(mark, dict) and all(isinstance(mark.get(name, ""), str) for name in ("key", "job"))
    return mark if is_ours and "key" in mark else {}


def _replace(folder: Path, staging: Path, *, replaced: Path, key: str, job: str) -> None:
    """Rename an export to its folder, unless another driver has put an export of this key there already."""
    try:
        staging.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if not is_filled(folder, key=key):
            check_owner(folder, job=job, at="spec.export")
            folder.rename(replaced)
            staging.rename(folder)


def _sweep(folder: Path, *, prefix: str) -> None:
    """Remove what killed writers left next to the folder of an export."""
    for left in list(folder.iterdir()):
        if is_unfinished(left.name, prefix) and is_abandoned(left, prefix=prefix):
            discard(left, prefix=prefix)
