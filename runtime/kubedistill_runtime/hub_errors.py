"""Errors of the Hugging Face hub's client, as errors that name the field and the fix."""

import errno
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubedistill.errors import BadCredentials, HubUnavailable, InvalidData, InvalidInput, InvalidModel, KubedistillError
from kubedistill_runtime.root_cause import first_line
from kubedistill_runtime.storage.failures import storage_errors

if TYPE_CHECKING:
    import httpx2

_ANSWER_SECONDS = 60.0
"""How long to wait for an answer of the hub, where its client would wait forever."""
_TRANSIENT = (407, 408, 425, 429)
"""Statuses, in addition to 5xx, that are not about what is wanted: a proxy, a timeout, a rate limit."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


class NotOnThisMachine(InvalidModel):
    """A model of the hub that is not on this machine, when nothing may be downloaded."""

    reason = InvalidModel.reason


class DataNotOnThisMachine(InvalidData):
    """A data file of the hub that is not on this machine, when nothing may be downloaded."""

    reason = InvalidData.reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job wants from the hub."""

    name: str
    at: str
    invalid: type[InvalidInput]
    """The error if the hub has no such thing."""
    absent: type[InvalidInput]
    """The error if it is not on this machine and nothing may be downloaded."""
    instead: str
    """What a job can name instead."""


@contextmanager
def hub_errors(wanted: Wanted, *, fetch: bool) -> Iterator[None]:
    """Raise every error of the hub's client as one of ours."""
    from huggingface_hub import constants, get_session

    try:
        if fetch:
            _check_endpoint(constants.ENDPOINT, wanted)
        _limit_silence(get_session())
        yield
    except KubedistillError:
        raise
    except Exception as error:  # the hub's client and its transport have no other base class of errors
        if not fetch:
            problem = f"{wanted.name} is not on this machine"
            raise wanted.absent(problem, at=wanted.at, fix="A run downloads it") from error
        raise _explain(error, wanted) from error


def _check_endpoint(address: str, wanted: Wanted) -> None:
    """Check the address of the hub or its mirror; raises InvalidModel or InvalidData."""
    if not re.match(r"https?://[^/]", address):
        problem = f"{wanted.name} can't be downloaded, because HF_ENDPOINT is {address!r}, which is not a web address"
        raise wanted.invalid(problem, at=wanted.at, fix="Set HF_ENDPOINT to one such as https://hub.example.com")


def _limit_silence(client: "httpx2.Client") -> None:
    """Add a timeout to requests of the hub's client that have none."""
    hooks = client.event_hooks
    if _limit_request not in hooks["request"]:
        client.event_hooks = {**hooks, "request": [*hooks["request"], _limit_request]}


def _limit_request(request: "httpx2.Request") -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        part: _ANSWER_SECONDS if limits.get(part) is None else limits[part]
        for part in ("connect", "read", "write", "pool")
    }


def _explain(error: Exception, wanted: Wanted) -> KubedistillError:
    """Return the error of a failed download; only an answer about what is wanted is an error of the job."""
    chain = _causes(error)
    if isinstance(chain[-1], OSError) and chain[-1].errno in _DISK:
        return _explain_disk(chain[-1])
    at = wanted.at
    problem = f"{wanted.name} can't be downloaded from the hub ({first_line(error)})"
    if _refuses_token(chain):
        fix = "Set HF_TOKEN to a token that may read it; in a cluster, with a Secret of spec.pods.envFromSecrets"
        return BadCredentials(problem, at=at, fix=fix)
    if _is_about_job(chain):
        mirror = ", HF_ENDPOINT" if "HF_ENDPOINT" in os.environ else ""
        fix = f"Check the name, the revision{mirror} and HF_TOKEN, or use {wanted.instead}"
        return wanted.invalid(problem, at=at, fix=fix)
    fix = f"Check the network, proxy and HF_ENDPOINT, or use {wanted.instead}; files that were downloaded are kept"
    return HubUnavailable(problem, at=at, fix=fix)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, down to the hub's answer or the network's error, which is the last one."""
    from huggingface_hub import errors

    transport = errors.HfHubHTTPError.__bases__[0]  # from the client's HTTP library, which depends on its version
    chain = [error]
    while not isinstance(chain[-1], transport) and (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _explain_disk(error: OSError) -> KubedistillError:
    """Return the storage error for the folder of the hub's files on this machine."""
    from huggingface_hub import constants

    try:
        with storage_errors(Path(constants.HF_HUB_CACHE), whole=False):
            raise error
    except KubedistillError as explained:
        return explained


def _status(chain: Sequence[BaseException]) -> int | None:
    """Return the status of the hub's answer, or None if there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    root = chain[-1]
    return root.response.status_code if isinstance(root, HfHubHTTPError) else None


def _is_about_job(chain: Sequence[BaseException]) -> bool:
    """Return whether the hub, or its client before the request, says that the job can't have what it wants.

    If the client is offline by its settings, or has only a part of it, a retry would not help either.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    status = _status(chain)
    if status is not None:
        return status < 500 and status not in _TRANSIENT
    root = chain[-1]
    if isinstance(root, json.JSONDecodeError):  # a page of a proxy or similar, instead of the hub's answer
        return False
    return isinstance(root, ValueError | OfflineModeIsEnabled | LocalEntryNotFoundError)


def _refuses_token(chain: Sequence[BaseException]) -> bool:
    """Return whether the hub refused the token, or requires one; a missing repository also gives 404 or 401."""
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

    root = chain[-1]
    if isinstance(root, RepositoryNotFoundError):
        return isinstance(root, GatedRepoError)
    return _status(chain) in (401, 403) and not isinstance(root, DisabledRepoError)
