"""Claiming of a channel: a driver becomes the only one that may write the ConfigMap of its attempt.

The operator creates the ConfigMap with the token of the attempt as `owner`, and with `starts` at 0. A claim sets
`owner` to `<token>:<driver>` and adds 1 to `starts`, in one patch that tests both values and the version that was read.
"""

import logging
import math
import time
from collections.abc import Callable

from kubedistill.contract import StageJob, StageProgress
from kubedistill.errors import ChannelUnavailable, ClaimLost
from kubedistill.stored import read_stored_json
from kubedistill_runtime.channel.api_server import ApiServer, retry_until
from kubedistill_runtime.channel.config_map import ChangeRefusedError, ConfigMap, Content, expect, replace
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.channel.messages import write_record
from kubedistill_runtime.spending import Spent
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)

_CLAIMS = 5
"""Claims to try while somebody else changes the ConfigMap between the read and the claim."""


def claim_channel(
    job: StageJob,
    *,
    api: ApiServer,
    name: str,
    driver: str,
    store: Store,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ConfigMapChannel:
    """Claim an attempt for a driver, and write its job.json into the store for the record.

    Raises ClaimLost if the ConfigMap is for another attempt or has a result already, and ChannelUnavailable if the API
    server can't be reached for 10 minutes.
    """
    config_map, claim = ConfigMap(api, api.namespace, name), f"{job.token}:{driver}"

    def attempt() -> Content | None:
        return _try_to_claim(config_map, token=job.token, claim=claim)

    for _ in range(_CLAIMS):
        claimed = retry_until(attempt, at=str(config_map), clock=clock, sleep=sleep)
        if claimed is not None:
            starts = int(claimed.data["starts"])
            log.info("attempt claimed", extra={"driver": driver, "starts": starts})
            channel = ConfigMapChannel(
                config_map=config_map,
                claim=claim,
                job_uid=job.job.uid,
                starts=starts,
                store=store,
                folder=job.attempt_folder,
                earlier=_read_spent(claimed),
                clock=clock,
                sleep=sleep,
            )
            write_record(store, f"{channel.folder}/job.json", job.to_json())
            return channel
    raise ChannelUnavailable(f"the claim was refused {_CLAIMS} times", at=str(config_map))


def _try_to_claim(config_map: ConfigMap, *, token: str, claim: str) -> Content | None:
    """Claim the ConfigMap; returns its new content, or None if it was changed between the read and the claim."""
    found = config_map.read()
    starts = found.data.get("starts", "")
    if not (starts.isascii() and starts.isdecimal() and len(starts) < 10):
        raise ChannelUnavailable(f"starts is {starts[:20]!r}, which is not a count", at=str(config_map))
    if found.owner == claim:  # an earlier claim succeeded, and only its reply was lost
        return found
    if found.owner != token and not found.owner.startswith(f"{token}:"):
        raise ClaimLost("the ConfigMap is for another attempt", at=str(config_map))
    if "result.json" in found.data:
        raise ClaimLost("this attempt has its result already", at=str(config_map))
    try:
        return config_map.change(
            expect("/metadata/resourceVersion", found.version),  # no result was written in the meantime
            expect("/data/owner", found.owner),
            expect("/data/starts", starts),
            replace("/data/owner", claim),
            replace("/data/starts", str(int(starts) + 1)),
        )
    except ChangeRefusedError:
        return None


def _read_spent(claimed: Content) -> Spent:
    """Return what earlier drivers reported to have spent; nothing if their last progress can't be read."""
    try:
        found = read_stored_json(StageProgress, claimed.data.get("progress.json", ""))
    except ValueError:  # there is none, or it was not written by a driver
        return Spent()
    return Spent(_amount(found.gpu_seconds), _amount(found.dollars), _amount(found.idle_gpu_seconds))


def _amount(value: float) -> float:
    return value if 0 <= value < math.inf else 0.0
