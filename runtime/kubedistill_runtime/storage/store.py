"""The store: named bytes that are either whole or absent, whatever is killed and whenever."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubedistill.errors import InvalidManifest
from kubedistill_runtime.storage.failures import closest_existing, storage_errors

_TEMPORARY = ".tmp-"


@dataclass(frozen=True, slots=True)
class Store:
    """A folder used as an object store; names are relative and use slashes.

    Every method raises StorageUnavailable where the disk is full or gone, and StorageNotWritable where it refuses.
    """

    root: Path

    @property
    def uri(self) -> str:
        """The store's root as a URI."""
        return self.root.as_uri()

    def path(self, name: str) -> Path:
        """Where a name lies on this machine, for libraries that read files themselves."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """Whether the name holds bytes, or names under it do."""
        with storage_errors(self.root):
            return self.path(name).exists()

    def read(self, name: str) -> bytes:
        """The bytes of a name; raises FileNotFoundError where there are none."""
        with storage_errors(self.root):
            return self.path(name).read_bytes()

    def names(self, prefix: str) -> list[str]:
        """The names right under a prefix, sorted; unfinished ones are not there."""
        folder = self.path(prefix)
        with storage_errors(self.root):
            entries = list(folder.iterdir()) if folder.is_dir() else []
        return sorted(f"{prefix}/{entry.name}" for entry in entries if not entry.name.startswith(_TEMPORARY))

    def put(self, name: str, data: bytes) -> None:
        """Write a name's bytes, replacing what it held; a reader sees the old bytes or the new, never a part."""
        with storage_errors(self.root), _temporary(self.path(name), data) as temporary:
            temporary.replace(self.path(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a name's bytes unless it holds some already; of two writers exactly one gets True."""
        with storage_errors(self.root), _temporary(self.path(name), data) as temporary:
            try:
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
            return True

    def put_folder(self, name: str, folder: Path) -> None:
        """Move a folder's files into the store under a name; the caller's manifest makes them count."""
        with storage_errors(self.root):
            for source in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = self.path(f"{name}/{source.relative_to(folder).as_posix()}")
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = _temporary_name(target)
                shutil.copyfile(source, temporary)
                _sync(temporary)
                temporary.replace(target)

    def delete(self, name: str) -> None:
        """Remove a name and all under it; nothing happens where there is nothing."""
        path = self.path(name)
        with storage_errors(self.root):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what writers that were killed on this machine left unfinished."""
        with storage_errors(self.root):
            for leftover in self.root.rglob(f"{_TEMPORARY}*"):
                writer = leftover.name.removeprefix(_TEMPORARY).partition("-")[0]
                if not Path(f"/proc/{writer}").exists():
                    leftover.unlink(missing_ok=True)

    def probe(self, *names: str) -> None:
        """Write and delete a file under each name, or under the closest folder that is there."""
        with storage_errors(self.root):
            for folder in dict.fromkeys(closest_existing(self.path(name)) for name in names):
                published = _temporary_name(folder / "probe")
                for publish in (os.replace, os.link):
                    with _temporary(published, b"probe") as temporary:
                        publish(temporary, published)
                        published.unlink()


def open_store(uri: str) -> Store:
    """Open the store at a URI or path, and make its folder; raises as locate_store does."""
    store = locate_store(uri)
    with storage_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    return store


def locate_store(uri: str) -> Store:
    """Return the store at a URI or path, whether or not it is there; raises InvalidManifest for an unknown scheme."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise InvalidManifest(
            f"storage of scheme '{parts.scheme}' is not served yet", at="spec.storage.uri", fix="Use a file:// URI"
        )
    path = Path(unquote(parts.path)) if parts.scheme else Path(uri)
    return Store(path.absolute())


@contextlib.contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[Path]:
    """Write bytes into a temporary file beside a target; the file is gone afterwards, unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(target)
    try:
        temporary.write_bytes(data)
        _sync(temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(target: Path) -> Path:
    return target.with_name(f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
