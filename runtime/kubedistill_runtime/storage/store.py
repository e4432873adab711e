"""The store: named bytes that are either whole or absent, even if a process is killed.

Everything is written under a temporary name next to its target, flushed to the disk, and then published by one call of
the operating system. `put` replaces a file by a rename. `put_if_absent` makes a hard link, and `move` renames a folder:
of several writers exactly one succeeds. The rest of a killed writer is removed by `sweep`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubedistill.paths import local_path
from kubedistill_runtime.storage.failures import closest_existing, storage_errors
from kubedistill_runtime.storage.sharing import make_folder
from kubedistill_runtime.storage.unfinished import (
    ABANDONED_SECONDS,
    copy_folder,
    discard,
    is_abandoned,
    is_unfinished,
    sync,
    try_writing,
    unfinished_name,
    write_temporary,
)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder used as an object store; names are relative and use slashes.

    Every method raises StorageUnavailable if the disk is full or gone, and StorageNotWritable if access is denied.
    """

    root: Path
    """The folder; it need not exist yet."""

    @property
    def uri(self) -> str:
        """The store's root as a URI."""
        return self.root.as_uri()

    def path(self, name: str) -> Path:
        """Return the path of a name on this machine, for libraries that read files themselves."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """Return whether the name has bytes, or is a folder of names."""
        with storage_errors(self.root):
            return self.path(name).exists()

    def read(self, name: str) -> bytes:
        """Return the bytes of a name; raises FileNotFoundError if there are none."""
        with storage_errors(self.root):
            return self.path(name).read_bytes()

    def names(self, prefix: str) -> list[str]:
        """Return the names directly under a prefix, sorted; hidden ones are unfinished or belong to other programs."""
        folder = self.path(prefix)
        with storage_errors(self.root):
            entries = list(folder.iterdir()) if folder.is_dir() else []
        return sorted(f"{prefix}/{entry.name}" for entry in entries if not entry.name.startswith("."))

    def put(self, name: str, data: bytes | Path) -> None:
        """Write bytes, or the content of a file, under a name, and replace what was there.

        A reader sees the old bytes or the new ones, never a part.
        """
        with storage_errors(self.root), write_temporary(self.path(name), data) as temporary:
            temporary.replace(self.path(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write bytes under a name unless it has some already; of two writers exactly one gets True."""
        with storage_errors(self.root), write_temporary(self.path(name), data) as temporary:
            try:
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
            return True

    def put_folder(self, name: str, folder: Path) -> bool:
        """Copy a folder to a name unless it exists already; returns what move returns."""
        if self.exists(name):
            return False
        with self.draft(name) as draft:
            with storage_errors(self.root):
                copy_folder(folder, self.path(draft))
            return self.move(draft, name)

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[str]:
        """Make a temporary folder for content that will be moved to a name at once, and yield the folder's name."""
        above, slash, _ = name.rpartition("/")
        draft = f"{above}{slash}{unfinished_name()}"
        with storage_errors(self.root):
            make_folder(self.path(draft))
        try:
            yield draft
        finally:
            shutil.rmtree(self.path(draft), ignore_errors=True)

    def move(self, draft: str, name: str) -> bool:
        """Rename a folder unless the new name exists already; a reader sees all of it or nothing.

        Of two writers exactly one gets True, and its content never changes again.
        """
        source, target = self.path(draft), self.path(name)
        if self.exists(name):
            return False
        with storage_errors(self.root):
            for path in (*source.rglob("*"), source):
                sync(path)
            try:
                source.rename(target)
            except OSError:
                if target.exists():
                    return False
                raise
            return True

    def sizes(self, name: str) -> dict[str, int]:
        """Return the size in bytes of each file under a name, or of the file of that name; empty if there is none."""
        path, found = self.path(name), dict[str, int]()
        with storage_errors(self.root):
            inside = [Path(folder, file) for folder, _, files in os.walk(path) for file in files]
            for file in sorted(inside) or [path]:
                with contextlib.suppress(FileNotFoundError):  # a checkpoint that another driver has just removed
                    if not is_unfinished(file.name) and not file.is_dir():
                        found[str(file.relative_to(self.root))] = file.stat().st_size
        return found

    def delete(self, name: str) -> None:
        """Remove a name and all under it, if it exists.

        A folder is renamed first. If part of it can't be removed, such as a file that another NFS client has open, a
        later sweep removes it.
        """
        path = self.path(name)
        with storage_errors(self.root), contextlib.suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path.rename(path.with_name(unfinished_name())), ignore_errors=True)
            else:
                path.unlink()

    def sweep(self, prefix: str = "", *, seconds: float = ABANDONED_SECONDS) -> None:
        """Remove the unfinished files of killed writers under a prefix.

        A writer in another pod or on another machine counts as killed after `seconds` without a write.
        """
        for folder, folders, files in os.walk(self.path(prefix)):  # unlike rglob, it tolerates folders that disappear
            for name in filter(is_unfinished, (*folders, *files)):
                if is_abandoned(Path(folder, name), seconds=seconds):
                    discard(Path(folder, name))
            folders[:] = [name for name in folders if not is_unfinished(name)]

    def probe(self, *names: str) -> None:
        """Write and delete a file under each name, or in the closest folder above it that exists.

        Raises StorageNotWritable, with the command that fixes it, if the file system refuses a file, a rename or a
        hard link, and StorageUnavailable for any other failure.
        """
        with storage_errors(self.root):
            for folder in dict.fromkeys(closest_existing(self.path(name)) for name in names):
                try_writing(folder)


def open_store(uri: str) -> Store:
    """Open the store at a URI or path, and make its folder; raises as locate_store does."""
    store = locate_store(uri)
    with storage_errors(store.root):
        make_folder(store.root)
    return store


def locate_store(uri: str) -> Store:
    """Return the store at a URI or path, whether or not it exists; raises InvalidManifest for an unknown scheme."""
    return Store(local_path(uri, root=Path(), at="spec.storage.uri", fix="Use a file:// URI").absolute())
