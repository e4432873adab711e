"""The Hugging Face hub: fetching a model's files, and whose fault it is where that fails."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubedistill.errors import BadCredentials, HubUnavailable, InvalidModel, KubedistillError
from kubedistill_runtime.root_cause import first_line
from kubedistill_runtime.storage.failures import storage_errors

if TYPE_CHECKING:
    import httpx2

_ANSWER_SECONDS = 60.0
"""How long the hub may be silent where its client would wait forever."""
_PASSING = (407, 408, 425, 429)
"""Statuses, besides 5xx, that say nothing of the model: a proxy, a timeout, a rate limit."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


class NotAtHand(InvalidModel):
    """A model of the hub that is not on this machine, and was not to be fetched."""

    reason = InvalidModel.reason


def fetch_snapshot(repository: str, *, revision: str | None, patterns: Sequence[str], at: str, fetch: bool) -> Path:
    """Return the folder of a repository's files; without fetch nothing is downloaded.

    What is on this machine already is used where the hub can't be reached. Raises NotAtHand where it is not and was not
    to be fetched; BadCredentials where the hub refuses the token; InvalidModel where it has no such repository or
    revision; HubUnavailable where it can't be reached; StorageUnavailable or StorageNotWritable where its files can't
    be kept.
    """
    import huggingface_hub

    try:
        _limit_silence(huggingface_hub.get_session())
        found = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(patterns), local_files_only=not fetch
        )
        return Path(found)
    except Exception as error:  # the hub's client and its transport have no error in common but this
        if not fetch:
            raise NotAtHand(f"{repository} is not on this machine", at=at, fix="A run fetches it") from error
        raise _explain(error, repository=repository, at=at) from error


def _limit_silence(client: "httpx2.Client") -> None:
    """Give requests of the hub's client that have no time limit one."""
    hooks = client.event_hooks
    if _limit_request not in hooks["request"]:
        client.event_hooks = {**hooks, "request": [*hooks["request"], _limit_request]}


def _limit_request(request: "httpx2.Request") -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        part: _ANSWER_SECONDS if limits.get(part) is None else limits[part]
        for part in ("connect", "read", "write", "pool")
    }


def _explain(error: Exception, *, repository: str, at: str) -> KubedistillError:
    """What a failed download means: only what the hub says of the model itself is the job's fault."""
    chain = _causes(error)
    if isinstance(chain[-1], OSError) and chain[-1].errno in _DISK:
        return _explain_disk(chain[-1])
    problem = f"{repository} can't be fetched from the hub ({first_line(error)})"
    if _refuses_token(chain):
        fix = "Put a token that may read it into HF_TOKEN; in a cluster by a Secret of spec.pods.envFromSecrets"
        return BadCredentials(problem, at=at, fix=fix)
    if _is_about_model(chain):
        fix = "Check the name, the revision and HF_TOKEN, or use a folder"
        return InvalidModel(problem, at=at, fix=fix)
    fix = "Check the network, proxy and HF_ENDPOINT, or use a folder; what was fetched on this machine is kept"
    return HubUnavailable(problem, at=at, fix=fix)


def _causes(error: BaseException) -> list[BaseException]:
    """An error and its causes, down to what the hub answered or the network did; the last one is the innermost."""
    from huggingface_hub import errors

    transport = errors.HfHubHTTPError.__bases__[0]  # of the client's own HTTP library, which differs by its version
    chain = [error]
    while not isinstance(chain[-1], transport) and (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _explain_disk(error: OSError) -> KubedistillError:
    """What the disk that holds the hub's files on this machine says."""
    from huggingface_hub import constants

    try:
        with storage_errors(Path(constants.HF_HUB_CACHE), whole=False):
            raise error
    except KubedistillError as explained:
        return explained


def _status(chain: Sequence[BaseException]) -> int | None:
    """What the hub answered; None where it did not."""
    from huggingface_hub.errors import HfHubHTTPError

    root = chain[-1]
    return root.response.status_code if isinstance(root, HfHubHTTPError) else None


def _is_about_model(chain: Sequence[BaseException]) -> bool:
    """Whether the hub, or its client before it asks, says that there is no such model for this job.

    A client that was told to stay offline, or that has only part of a model, has no cause to wait either.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    status = _status(chain)
    if status is not None:
        return status < 500 and status not in _PASSING
    root = chain[-1]
    if isinstance(root, json.JSONDecodeError):  # somebody else's page, as of a proxy, instead of the hub's answer
        return False
    return isinstance(root, ValueError | OfflineModeIsEnabled | LocalEntryNotFoundError)


def _refuses_token(chain: Sequence[BaseException]) -> bool:
    """Whether the hub refused the token, or the lack of one; it says 404, or 401, of what is not there at all."""
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

    root = chain[-1]
    if isinstance(root, RepositoryNotFoundError):
        return isinstance(root, GatedRepoError)
    return _status(chain) in (401, 403) and not isinstance(root, DisabledRepoError)
