"""Paths that are made of what a user wrote: the one place where a manifest's URIs and names become files."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubedistill.errors import InvalidManifest


def uri_path(uri: str, *, root: Path, at: str) -> Path | None:
    """Return the path that a path or file:// URI names, below `root` if it has no scheme; None for another scheme.

    Raises InvalidManifest, at the field, for what is no path: a null byte, which may hide as %00.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    path = unquote(parts.path) if parts.scheme else uri
    if "\0" in path:
        raise InvalidManifest("a path can't hold a null byte", at=at, fix="Remove it; in a URI it is %00")
    return root / path


def entry_path(folder: Path, name: str, *, at: str) -> Path:
    """Return the path of one entry of a folder; raises InvalidManifest for a name that leads anywhere else."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidManifest(f"{name!r} is not a name but a path", at=at, fix="Name the object or the key itself")
    return folder / name
