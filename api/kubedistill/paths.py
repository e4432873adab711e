"""Paths from user input: only this file converts URIs and names of a manifest to files."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubedistill.errors import InvalidInput, InvalidManifest

HUB_SCHEME = "hf://"
"""The scheme of models and data files of the Hugging Face hub."""
DATASET = r"hf://datasets/([^/@]+/[^/@]+)"
"""Pattern of the start of a data file's URI: the repository of the dataset."""
REVISION = r"@(refs/(?:convert|pr)/[^/]+|[^/]+)"
"""Pattern of a revision after DATASET. As huggingface_hub's HfFileSystem: one with a slash is quoted, or one of two
refs."""


def model_name(source: str, revision: str | None) -> str:
    """Return the name of a model of the hub in a run: its source, and its revision if there is one."""
    return f"{source}@{revision}" if revision else source


@dataclass(frozen=True, slots=True)
class Location:
    """The parts of a path or URI in a manifest."""

    scheme: str
    """Empty for a path."""
    path: Path | None
    """None if the scheme is not `file`."""


def locate(uri: str, *, root: Path, at: str) -> Location:
    """Return the parts of a path or URI; a path without a scheme is relative to `root`.

    Raises InvalidManifest, which names the field, for a null byte, which a URI may contain as %00, and for a file://
    URI with a host: most likely, that is the first folder of a path.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return Location(parts.scheme, None)
    if parts.netloc not in ("", "localhost"):
        fix = f"Write three slashes, as in file:///{parts.netloc}{parts.path}"
        raise InvalidManifest(f"{uri} names the host {parts.netloc}, which is not supported", at=at, fix=fix)
    path = unquote(parts.path) if parts.scheme else uri
    if "\0" in path:
        raise InvalidManifest("a path can't contain a null byte", at=at, fix="Remove it; in a URI it is %00")
    return Location(parts.scheme, root / path)


def local_path(
    uri: str,
    *,
    root: Path,
    at: str,
    fix: str = "Use a file:// URI or a path",
    error: type[InvalidInput] = InvalidManifest,
) -> Path:
    """Return the path of a path or file:// URI; raises `error`, which names the field, for any other scheme."""
    found = locate(uri, root=root, at=at)
    if found.path is None:
        raise error(f"scheme '{found.scheme}' is not supported yet", at=at, fix=fix)
    return found.path


def find_store_problem(uri: str) -> str | None:
    """Return why the pods of a job cannot use a store, or None if its URI gives no reason."""
    try:
        scheme = locate(uri, root=Path(), at="").scheme
    except InvalidManifest as error:
        return error.problem
    return None if scheme == "file" else f"{uri} is not a file:// URI, and other stores are not supported yet"


def entry_path(folder: Path, name: str, *, at: str) -> Path:
    """Return the path of an entry of a folder; raises InvalidManifest for a name that leads out of the folder."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidManifest(f"{name!r} is a path, not a name", at=at, fix="Name the object or the key itself")
    return folder / name
