"""Whether the folders of exports are writable and have no files of others."""

from collections.abc import Sequence
from pathlib import Path

from kubedistill.v1alpha1 import Export
from kubedistill_runtime.export.folders import check_owner, export_path, is_filled
from kubedistill_runtime.storage.failures import closest_existing, storage_errors
from kubedistill_runtime.storage.unfinished import try_writing


def check_export_folders(exports: Sequence[Export], *, data_root: Path, key: str, job: str) -> None:
    """Raise InvalidManifest for a folder with another owner's files, and a storage error for one that can't be written.

    Run this before any work is done. `job` is the namespace and name of the job, as in team-a/support.
    """
    for index, export in enumerate(exports):
        at = f"spec.export[{index}].uri"
        folder = export_path(export, data_root=data_root, at=at)
        if folder is None or is_filled(folder, key=key):
            continue
        with storage_errors(folder.parent, whole=False):
            try_writing(closest_existing(folder.parent))
        check_owner(folder, job=job, at=at)
