"""The Hugging Face hub: the commit of a repository, its files, and parts of them.

Downloads go into the hub's cache, HF_HOME, whose locks let each file be downloaded once, whichever process is first.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kubedistill.errors import InvalidData, InvalidModel
from kubedistill_runtime.hub_download import download_file
from kubedistill_runtime.hub_errors import DataNotOnThisMachine, NotOnThisMachine, Wanted, hub_errors

Report = Callable[[int, int], None]
"""Receives the bytes on this machine and the bytes in all; what it raises ends the download."""


def no_report(_done: int, _total: int) -> None:
    """Report to nobody."""


_DOWNLOADS = 8
_POLL_SECONDS = 0.5


def find_commit(repository: str, *, revision: str | None, at: str, fetch: bool) -> str:
    """Return the commit of a branch or tag of a model's repository; without one, of its main branch.

    Without `fetch`, and if the hub can't be reached, it is the commit that this machine knows. Raises NotOnThisMachine
    if it knows none and `fetch` is false; BadCredentials if the hub refuses the token; InvalidModel if it has no such
    repository or revision; HubUnavailable if it can't be reached.
    """
    import huggingface_hub

    with hub_errors(_model(repository, at=at), fetch=fetch):
        return (
            huggingface_hub.HfApi().resolve_revision(repository, revision=revision, local_files_only=not fetch).resolved
        )


def list_files(repository: str, *, commit: str, at: str) -> dict[str, int]:
    """Return the files of a model's repository that are not in a folder, with their bytes; raises as find_commit."""
    import huggingface_hub
    from huggingface_hub.hf_api import RepoFile

    with hub_errors(_model(repository, at=at), fetch=True):
        entries = huggingface_hub.HfApi().list_repo_tree(repository, revision=commit)
        return {one.path: one.size for one in entries if isinstance(one, RepoFile)}


def read_range(repository: str, *, commit: str, name: str, start: int, stop: int, at: str) -> bytes:
    """Return a part of a file of a model's repository, from byte `start` to before `stop`; raises as find_commit."""
    import huggingface_hub
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import hf_raise_for_status, http_stream_backoff

    url = huggingface_hub.hf_hub_url(repository, name, revision=commit)
    headers = {**build_hf_headers(), "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    with (
        hub_errors(_model(f"{name} of {repository}", at=at), fetch=True),
        http_stream_backoff("GET", url, headers=headers, follow_redirects=True) as response,
    ):
        hf_raise_for_status(response)
        skipped = 0 if response.status_code == 206 else start  # a mirror may send all of the file
        found = bytearray()
        for chunk in response.iter_bytes():
            found += chunk
            if len(found) >= skipped + stop - start:
                break
        return bytes(found[skipped : skipped + stop - start])


def fetch_files(
    repository: str, *, commit: str, files: Mapping[str, int], at: str, fetch: bool, report: Report = no_report
) -> Path:
    """Return the folder with files of a model; those that are not on this machine are downloaded, if `fetch` is true.

    `files` are names, with their bytes. No request is made if all of them are there. Raises the errors of find_commit,
    and StorageUnavailable or StorageNotWritable if the files can't be saved.
    """
    snapshot = _snapshot(repository, commit=commit)
    with hub_errors(_model(repository, at=at), fetch=fetch):
        missing = [name for name in files if not (snapshot / name).is_file()]
        if missing and not fetch:
            raise FileNotFoundError(missing[0])
        tasks = [partial(download_file, repository, name, commit=commit) for name in missing]
        _run_all(tasks, poll=lambda: report(*_measure(snapshot, files)))
    return snapshot


def find_folder(repository: str, *, commit: str) -> Path | None:
    """Return the folder of a commit's files on this machine, of which some may be missing; None if it has none."""
    found = _snapshot(repository, commit=commit)
    return found if found.is_dir() else None


def fetch_data_file(repository: str, *, name: str, revision: str | None, at: str, fetch: bool) -> Path:
    """Return the path of a file of a dataset; without `fetch`, nothing is downloaded.

    Raises the errors of fetch_files, with DataNotOnThisMachine and InvalidData instead of NotOnThisMachine and
    InvalidModel.
    """
    import huggingface_hub

    wanted = Wanted(f"{name} of {repository}", at, InvalidData, DataNotOnThisMachine, "a file")
    with hub_errors(wanted, fetch=fetch):
        found = huggingface_hub.hf_hub_download(
            repository, name, repo_type="dataset", revision=revision, local_files_only=not fetch
        )
        return Path(found)


def _model(name: str, *, at: str) -> Wanted:
    return Wanted(name, at, InvalidModel, NotOnThisMachine, "a folder")


def _snapshot(repository: str, *, commit: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repository, repo_type="model")
    return Path(constants.HF_HUB_CACHE, folder, "snapshots", commit)


def _measure(snapshot: Path, files: Mapping[str, int]) -> tuple[int, int]:
    """Return the bytes on this machine, with those of files that are not complete, and the bytes in all."""
    done, total = sum(size for name, size in files.items() if (snapshot / name).exists()), sum(files.values())
    for path in (snapshot.parents[1] / "blobs").glob("*.incomplete"):
        with contextlib.suppress(FileNotFoundError):  # it was just completed
            done += path.stat().st_size
    return min(done, total), total


def _run_all(tasks: Sequence[Callable[[], str]], *, poll: Callable[[], None]) -> None:
    """Run tasks in a few threads, and `poll` meanwhile; raises the first error of either without waiting for others.

    The threads end with the process: a driver that is told to stop does not wait for its downloads.
    """
    waiting, stopped = iter(tasks), threading.Event()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def work() -> None:
        while not stopped.is_set() and (task := next(waiting, None)) is not None:
            try:
                task()
            except Exception as error:  # raised again by the caller
                ended.put(error)
            else:
                ended.put(None)

    for _ in range(min(_DOWNLOADS, len(tasks))):
        threading.Thread(target=work, daemon=True, name="hub-download").start()
    left = len(tasks)
    try:
        while left:
            with contextlib.suppress(queue.Empty):
                error = ended.get(timeout=_POLL_SECONDS)
                left -= 1
                if error is not None:
                    raise error
            poll()
    finally:
        stopped.set()
