"""Downloads of single files into the hub's cache: a busy hub is asked again, and a killed download is continued."""

import contextlib
import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a file is requested again after a status of 5xx; the hub's client itself repeats only other requests.
"""
_ABANDONED_SECONDS = 60.0
"""A part of a file that nobody has written for so long belongs to a download that was killed."""


def download_file(repository: str, name: str, *, commit: str) -> str:
    """Download a file of a model's repository, unless it is there, and return its path; raises as the hub's client."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    waits = iter(_WAITS)
    while True:
        try:
            _continue_killed(repository, name, commit=commit)
            return huggingface_hub.hf_hub_download(repository, name, revision=commit)
        except HfHubHTTPError as error:
            seconds = next(waits, None)
            if seconds is None or error.response.status_code < 500:
                raise
            log.warning("the hub refuses a file for now", exc_info=error, extra={"file": name})
            time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file of the hub, which its cache keeps in `blob`."""

    url: str
    size: int | None
    etag: str
    blob: Path
    in_order: bool
    """Whether its bytes come in their order, so that a part of them can be continued; those from Xet do not."""


def _continue_killed(repository: str, name: str, *, commit: str) -> None:
    """Complete the part of a file that a killed download left; the hub's client would neither use nor remove it."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils._fixes import WeakFileLock
    from huggingface_hub.utils._runtime import is_xet_available

    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repository, repo_type="model")
    if not _find_abandoned(cache / folder / "blobs", etag="*"):
        return
    url = hf_hub_url(repository, name, revision=commit)
    found = get_hf_file_metadata(url, retry_on_errors=True)
    if found.etag is None:
        return
    blob = cache / folder / "blobs" / found.etag
    in_order = found.xet_file_data is None or constants.HF_HUB_DISABLE_XET or not is_xet_available()
    lock = cache / ".locks" / folder / f"{found.etag}.lock"  # that of the hub's client
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        _use_parts(_Remote(url, found.size, found.etag, blob, in_order))


def _use_parts(remote: _Remote) -> None:
    """Complete the largest part of a file, and remove the others."""
    for part in _find_abandoned(remote.blob.parent, etag=remote.etag):
        if remote.in_order and not remote.blob.exists():
            _complete(part, remote)
        part.unlink(missing_ok=True)


def _complete(part: Path, remote: _Remote) -> None:
    """Download the rest of a file, and keep it as the cache's if its content is the hub's."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    there = part.stat().st_size
    if remote.size is None or there > remote.size or len(remote.etag) != hashlib.sha256().digest_size * 2:
        return  # nothing shows whether the result would be right
    log.info("a killed download continues", extra={"file": part.name, "bytes": there})
    with part.open("ab") as file:
        http_get(remote.url, file, resume_size=there, headers=build_hf_headers(), expected_size=remote.size)
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == remote.etag:
            part.rename(remote.blob)


def _find_abandoned(blobs: Path, *, etag: str) -> list[Path]:
    """Return the parts of a file that killed downloads have left, the largest first."""
    before, found = time.time() - _ABANDONED_SECONDS, list[tuple[int, Path]]()
    for part in blobs.glob(f"{etag}.*.incomplete"):
        with contextlib.suppress(FileNotFoundError):  # another process has completed or removed it
            if (stat := part.stat()).st_mtime < before:
                found.append((stat.st_size, part))
    return [part for _, part in sorted(found, reverse=True)]
