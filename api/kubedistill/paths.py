"""Paths that are made of what a user wrote: the one place where a manifest's URIs and names become files."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubedistill.errors import InvalidInput, InvalidManifest


@dataclass(frozen=True, slots=True)
class Location:
    """What a path or URI of a manifest names."""

    scheme: str
    """Empty for a path."""
    path: Path | None
    """None where the scheme is not that of files."""


def locate(uri: str, *, root: Path, at: str) -> Location:
    """Return what a path or URI names; a path without a scheme is below `root`.

    Raises InvalidManifest, at the field, for what is not a path: a null byte, which may hide as %00.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return Location(parts.scheme, None)
    path = unquote(parts.path) if parts.scheme else uri
    if "\0" in path:
        raise InvalidManifest("a path can't hold a null byte", at=at, fix="Remove it; in a URI it is %00")
    return Location(parts.scheme, root / path)


def local_path(
    uri: str,
    *,
    root: Path,
    at: str,
    fix: str = "Use a file:// URI or a path",
    error: type[InvalidInput] = InvalidManifest,
) -> Path:
    """Return the path that a path or file:// URI names; raises `error`, at the field, for any other scheme."""
    found = locate(uri, root=root, at=at)
    if found.path is None:
        raise error(f"scheme '{found.scheme}' is not served yet", at=at, fix=fix)
    return found.path


def entry_path(folder: Path, name: str, *, at: str) -> Path:
    """Return the path of one entry of a folder; raises InvalidManifest for a name that leads anywhere else."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidManifest(f"{name!r} is not a name but a path", at=at, fix="Name the object or the key itself")
    return folder / name
