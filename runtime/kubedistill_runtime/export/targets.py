"""Export targets: folders outside the store that we may fill, and must not overwrite."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from kubedistill.errors import InvalidManifest
from kubedistill.paths import local_path
from kubedistill.v1alpha1 import Export
from kubedistill_runtime.storage.artifacts import folder_of
from kubedistill_runtime.storage.failures import closest_existing, storage_errors
from kubedistill_runtime.storage.sharing import make_folder, share
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.storage.unfinished import (
    discard,
    is_abandoned,
    is_unfinished,
    try_writing,
    unfinished_name,
)

MARK = "kubedistill.json"
"""Written into each exported folder: the key of the export, by which we know the folder as ours, and its job."""
_STAGING = ".kubedistill-"


def check_targets(exports: Sequence[Export], *, data_root: Path, key: str, job: str) -> None:
    """Refuse a target that holds what is somebody else's or can't be written, before anything is spent.

    `job` is the namespace and name of the job, as in team-a/support.
    """
    for index, export in enumerate(exports):
        at = f"spec.export[{index}].uri"
        target = target_path(export, data_root=data_root, at=at)
        if target is None or is_filled(target, key=key):
            continue
        with storage_errors(target.parent, whole=False):
            try_writing(closest_existing(target.parent))
        _check_owner(target, job=job, at=at)


def target_path(export: Export, *, data_root: Path, at: str) -> Path | None:
    """The folder that an export is copied to, or None where it stays in the store."""
    return None if export.uri is None else local_path(export.uri, root=data_root, at=at)


def places(exports: Sequence[Export], *, data_root: Path, store: Store, key: str) -> list[Path]:
    """The folder of each export: the one it is copied to, or one of its own in the store."""
    found = []
    for index, export in enumerate(exports):
        own = store.path(f"{folder_of('export', key)}/{index}-{export.format.lower()}")
        found.append(target_path(export, data_root=data_root, at=f"spec.export[{index}].uri") or own)
    return found


def is_filled(target: Path, *, key: str) -> bool:
    """Whether a target already holds the export of this key, whole."""
    return _read_mark(target).get("key") == key


def are_filled(exports: Sequence[Export], *, data_root: Path, store: Store, key: str) -> bool:
    """Whether every export of this key is in its folder, whole."""
    return all(is_filled(target, key=key) for target in places(exports, data_root=data_root, store=store, key=key))


def fill(target: Path, *, key: str, job: str, write: Callable[[Path], None]) -> None:
    """Put an export into its folder by one rename, replacing an earlier one of the same job.

    Raises InvalidManifest where the folder has become somebody else's since the job started.
    """
    if is_filled(target, key=key):
        return
    _check_owner(target, job=job, at="spec.export")
    beside = f".{target.name}{_STAGING}"
    staging, retired = (target.with_name(unfinished_name(beside)) for _ in range(2))
    try:
        with storage_errors(target.parent, whole=False):
            make_folder(staging)
            _sweep(target.parent, prefix=beside)
            write(staging)
            (staging / MARK).write_text(json.dumps({"key": key, "job": job}))
            share(staging / MARK)
            _replace(target, staging, retired=retired, key=key, job=job)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def _check_owner(target: Path, *, job: str, at: str) -> None:
    """Raise InvalidManifest where a folder holds files of somebody else, or the export of another job."""
    mark = _read_mark(target)
    if not mark and target.exists() and (target.is_file() or any(target.iterdir())):
        raise InvalidManifest(f"{target} holds files that are not an export of ours", at=at, fix="Name a new folder")
    if (owner := mark.get("job", job)) != job:
        fix = "Name a new folder, or remove that one"
        raise InvalidManifest(f"{target} holds the export of job {owner}", at=at, fix=fix)


def _read_mark(target: Path) -> dict[str, str]:
    """What our mark in a folder says; empty where it is not one of ours. Those of 0.1 name no job."""
    try:
        mark = json.loads((target / MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(mark, dict) and all(isinstance(mark.get(name, ""), str) for name in ("key", "job"))
    return mark if is_ours and "key" in mark else {}


def _replace(target: Path, staging: Path, *, retired: Path, key: str, job: str) -> None:
    """Give an export its folder's name; one of this key that another driver has put there by now stays."""
    try:
        staging.rename(target)
    except OSError:
        if not target.exists():
            raise
        if not is_filled(target, key=key):
            _check_owner(target, job=job, at="spec.export")
            target.rename(retired)
            staging.rename(target)


def _sweep(folder: Path, *, prefix: str) -> None:
    """Remove what killed writers left beside a target."""
    for left in list(folder.iterdir()):
        if is_unfinished(left.name, prefix) and is_abandoned(left, prefix=prefix):
            discard(left, prefix=prefix)
