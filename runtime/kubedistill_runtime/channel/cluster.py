"""The channel in a cluster: a ConfigMap that only the last driver to claim it may write.

Every write begins with a test of the driver's own claim, so the API server refuses late writes of a driver that was
replaced.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from kubedistill.contract import MESSAGE_BYTES, StageJob, StageProgress, StageResult
from kubedistill.errors import ChannelUnavailable, ClaimLost, StorageUnavailable
from kubedistill.stored import read_stored_json
from kubedistill_runtime.channel import attempt_folder
from kubedistill_runtime.channel.api_server import TIMEOUT_SECONDS, ApiServer, TransientError
from kubedistill_runtime.channel.config_map import (
    Change,
    ChangeRefusedError,
    ConfigMap,
    Content,
    NotAllowedError,
    assign,
    expect,
    replace,
)
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)

_PROGRESS_SECONDS, _READ_SECONDS = 10.0, 5.0
_MAX_PAUSE_SECONDS = 60.0
"""The longest pause between two calls of the API server."""
_CLAIMS = 5
_ORPHANED_SECONDS = 60.0
"""How long a ConfigMap may lack the driver's job as owner before the driver saves and exits."""
_Result = TypeVar("_Result")


@dataclass(slots=True)
class ConfigMapChannel:
    """One driver's claim on the ConfigMap of its attempt; made by claim_channel.

    Every method raises ClaimLost once another driver has claimed the attempt, or nobody waits for it anymore.
    """

    config_map: ConfigMap
    claim: str
    job_uid: str
    """The owner of the ConfigMap. If the job was deleted but not its dependents, nobody reads the result."""
    starts: int
    """How many drivers have claimed this attempt, this one included."""
    store: Store
    folder: str
    """The folder in the store that the result is written to first."""
    earlier_gpu_seconds: float
    """GPU-seconds of earlier drivers; this driver's are added."""
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _unsent: StageProgress | None = field(default=None, init=False)
    _sent_at: float = field(default=float("-inf"), init=False)
    _read_at: float = field(default=float("-inf"), init=False)
    _failures: int = field(default=0, init=False)
    _denied_at: float | None = field(default=None, init=False)
    """When the API server began to deny every call."""
    _stop: bool = field(default=False, init=False)
    _lost: ClaimLost | None = field(default=None, init=False)
    _orphaned_at: float | None = field(default=None, init=False)
    _is_orphan: bool = field(default=False, init=False)

    def publish_progress(self, progress: StageProgress) -> None:
        """Publish the progress of the stage, at most every 10 s; the latest goes with the next message or the result.

        An API server that doesn't answer never ends a stage: the next message has the later progress.
        """
        self._check()
        progress = progress.model_copy(update={"gpu_seconds": self.earlier_gpu_seconds + progress.gpu_seconds})
        self._unsent = progress
        if self.clock() - self._sent_at < self._pause(_PROGRESS_SECONDS):
            return
        self._sent_at = self.clock()
        try:
            self._write(*self._pending())
        except (TransientError, ChannelUnavailable) as problem:
            self._note_failure(problem)
        self._record(progress)

    def publish_result(self, result: StageResult) -> None:
        """Write the result to the store and then, with retries for up to 10 minutes, to the ConfigMap.

        Raises ClaimLost if the job is gone, and ChannelUnavailable if the API server did not accept it in that time.
        """
        self._check()
        self._read()
        result = result.model_copy(update={"gpu_seconds": self.earlier_gpu_seconds + result.gpu_seconds})
        if self._unsent is not None:
            self._record(self._unsent)
        write_record(self.store, f"{self.folder}/result.json", result.to_json())
        if self._is_orphan:
            raise ClaimLost("the job of this attempt is gone, and nobody waits for its result", at=str(self.config_map))
        change = assign("/data/result.json", fit_result(result, whole=f"{self.store.uri}/{self.folder}/result.json"))
        retry_until(
            lambda: self._write(*self._pending(), change), at=str(self.config_map), clock=self.clock, sleep=self.sleep
        )

    def asked_to_stop(self) -> bool:
        """Return whether the operator asks the driver to save and exit; reads the ConfigMap at most every 5 s."""
        self._check()
        if not self._stop and self.clock() - self._read_at >= self._pause(_READ_SECONDS):
            self._read()
        return self._stop

    def _read(self) -> None:
        self._read_at = self.clock()
        try:
            self._update(self.config_map.read)
        except (TransientError, ChannelUnavailable) as problem:
            self._note_failure(problem)

    def _write(self, *changes: Change) -> None:
        try:
            self._update(lambda: self.config_map.change(expect("/data/owner", self.claim), *changes))
        except ChangeRefusedError as refused:
            self._update(self.config_map.read)
            raise ChannelUnavailable(
                f"the API server refuses the driver's message ({refused})", at=str(self.config_map)
            ) from refused
        self._unsent = None

    def _update(self, call: Callable[[], Content]) -> None:
        """Take over what the ConfigMap says: a request to stop, or the claim of another driver."""
        try:
            content = call()
            if content.owner != self.claim:
                raise ClaimLost("another driver has claimed this attempt", at=str(self.config_map))
        except ClaimLost as lost:
            self._lost = lost
            raise
        self._read_at, self._failures, self._denied_at = self.clock(), 0, None
        self._note_owner(content)
        self._stop = self._stop or content.stop or self._is_orphan

    def _note_owner(self, content: Content) -> None:
        """Conclude that the job is gone only if two reads, a minute apart, find it is not an owner."""
        if self.job_uid in content.owners:
            self._orphaned_at = None
        elif self._orphaned_at is None:
            self._orphaned_at = self.clock()
        elif not self._is_orphan and self.clock() - self._orphaned_at >= _ORPHANED_SECONDS:
            log.warning("the job is gone; saving and exiting", extra={"job": self.job_uid})
            self._is_orphan = True

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _record(self, progress: StageProgress) -> None:
        write_record(self.store, f"{self.folder}/progress.json", progress.to_json())

    def _pending(self) -> list[Change]:
        return [assign("/data/progress.json", fit_progress(self._unsent))] if self._unsent else []

    def _pause(self, seconds: float) -> float:
        """Return the pause before the next call, doubled with each failed one."""
        return min(_MAX_PAUSE_SECONDS, seconds * 2.0 ** min(self._failures, 8))

    def _note_failure(self, problem: Exception) -> None:
        self._failures += 1
        if not isinstance(problem, NotAllowedError):
            self._denied_at = None
        elif self._denied_at is None:
            self._denied_at = self.clock()
        elif self.clock() - self._denied_at >= TIMEOUT_SECONDS:  # its Role was deleted with its RayJob or Job
            self._lost = ClaimLost(
                "nobody waits for this attempt anymore: the driver has lost its permissions", at=str(self.config_map)
            )
            raise self._lost
        log.warning("the API server gave no usable answer", extra={"problem": str(problem), "failures": self._failures})


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
                folder=attempt_folder(job),
                earlier_gpu_seconds=_read_gpu_seconds(claimed),
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


def _read_gpu_seconds(claimed: Content) -> float:
    """Return the GPU-seconds that earlier drivers reported; 0 if their last progress can't be read."""
    try:
        found = read_stored_json(StageProgress, claimed.data.get("progress.json", "")).gpu_seconds
    except ValueError:  # there is none, or it was not written by a driver
        return 0.0
    return found if 0 <= found < math.inf else 0.0


def retry_until(
    call: Callable[[], _Result], *, at: str, clock: Callable[[], float], sleep: Callable[[float], None]
) -> _Result:
    """Retry a call with growing pauses until it succeeds; raises ChannelUnavailable after the error's timeout."""
    start, pause = clock(), 1.0
    while True:
        try:
            return call()
        except TransientError as transient:
            left = start + transient.timeout - clock()
            if left <= 0:
                raise ChannelUnavailable(
                    f"the API server can't be reached ({transient})", at=at, fix=transient.fix
                ) from transient
            log.warning("calling the API server again", extra={"problem": str(transient)})
            sleep(min(left, max(pause, min(transient.retry_after, _MAX_PAUSE_SECONDS))))
            pause = min(2 * pause, 30.0)


def write_record(store: Store, name: str, text: str) -> None:
    """Write a record to the store; if that fails, log it, since the message itself must still be sent."""
    try:
        store.put(name, text.encode())
    except StorageUnavailable as full:
        log.warning("a record was not written", extra={"file": name, "problem": str(full)})


def fit_progress(progress: StageProgress) -> str:
    """Encode progress in at most 16 KiB; figures are left out if there are too many."""
    text = progress.to_json()
    return text if _size(text) <= MESSAGE_BYTES else progress.model_copy(update={"figures": {}}).to_json()


def fit_result(result: StageResult, *, whole: str) -> str:
    """Encode a result in at most 16 KiB; the largest parts of the summary are left out, and then the message.

    `whole` is the path of the whole result. Raises ChannelUnavailable if the artifacts alone are too large.
    """
    parts = sorted((len(json.dumps(value, default=str)), name) for name, value in result.summary.items())
    while (excess := _size(result.to_json()) - MESSAGE_BYTES) > 0 and parts:
        while excess > 0 and parts:
            excess -= parts.pop()[0]
        log.warning("figures do not fit into the result", extra={"whole": whole, "kept": len(parts)})
        result = result.model_copy(update={"summary": {name: result.summary[name] for _, name in parts}})
    if _size(result.to_json()) > MESSAGE_BYTES:
        result = result.model_copy(update={"message": f"too long for the channel; it is in {whole}"[:1024]})
    text = result.to_json()
    if _size(text) > MESSAGE_BYTES:
        raise ChannelUnavailable(f"the result has {_size(text)} bytes, but at most {MESSAGE_BYTES} fit", at=whole)
    return text


def _size(text: str) -> int:
    return len(text.encode())
