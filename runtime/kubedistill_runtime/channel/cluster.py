"""The channel in a cluster: a ConfigMap that the last driver to claim it writes, and no other.

Every write begins with a test of the driver's own claim, so what a driver that lost its place still sends is
refused by the API server, however late it comes.
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
from kubedistill_runtime.channel.api_server import PATIENCE_SECONDS, ApiServer, TransientError
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

_PROGRESS_SECONDS, _LOOK_SECONDS = 10.0, 5.0
_SLOWEST_SECONDS = 60.0
"""The longest pause between two tries at telling progress, and between two tries at telling anything else."""
_CLAIMS = 5
_ORPHANED_SECONDS = 60.0
"""How long a ConfigMap may not name the driver's job as its owner until the driver saves and leaves."""
_Given = TypeVar("_Given")


@dataclass(slots=True)
class ConfigMapChannel:
    """One driver's hold on its attempt's ConfigMap; made by claim_channel.

    Every method raises ClaimLost once another driver has claimed the attempt, or nobody waits for it any more.
    """

    config_map: ConfigMap
    claim: str
    job_uid: str
    """Whom the ConfigMap belongs to; a job that was deleted without its dependents leaves a driver without a reader."""
    starts: int
    """How many drivers have claimed this attempt, this one included."""
    store: Store
    folder: str
    """Where in the store the result goes first."""
    spent: float
    """GPU-seconds of the drivers before this one, which its own come on top of."""
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _untold: StageProgress | None = field(default=None, init=False)
    _tried: float = field(default=float("-inf"), init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _misses: int = field(default=0, init=False)
    _denied_at: float | None = field(default=None, init=False)
    """Since when the API server has denied every call."""
    _stop: bool = field(default=False, init=False)
    _lost: ClaimLost | None = field(default=None, init=False)
    _orphaned_at: float | None = field(default=None, init=False)
    _is_orphan: bool = field(default=False, init=False)

    def publish_progress(self, progress: StageProgress) -> None:
        """Say how far the stage is, at most every 10 s; what is left unsaid goes with the next word, or the last.

        An API server that doesn't listen never ends a stage: the next try tells more.
        """
        self._check()
        progress = progress.model_copy(update={"gpu_seconds": self.spent + progress.gpu_seconds})
        self._untold = progress
        if self.clock() - self._tried < self._pause(_PROGRESS_SECONDS):
            return
        self._tried = self.clock()
        try:
            self._write(*self._pending())
        except (TransientError, ChannelUnavailable) as problem:
            self._miss(problem)
        self._keep(progress)

    def publish_result(self, result: StageResult) -> None:
        """Write the result to the store and then, for up to 10 minutes, to the ConfigMap.

        Raises ClaimLost where the job is gone that it would be told to, and ChannelUnavailable when the API server
        took it in none of that time.
        """
        self._check()
        self._look()
        result = result.model_copy(update={"gpu_seconds": self.spent + result.gpu_seconds})
        if self._untold is not None:
            self._keep(self._untold)
        keep(self.store, f"{self.folder}/result.json", result.to_json())
        if self._is_orphan:
            raise ClaimLost("the job of this attempt is gone, and nobody waits for its result", at=str(self.config_map))
        told = assign("/data/result.json", fit_result(result, whole=f"{self.store.uri}/{self.folder}/result.json"))
        retry_until(
            lambda: self._write(*self._pending(), told), at=str(self.config_map), clock=self.clock, sleep=self.sleep
        )

    def asked_to_stop(self) -> bool:
        """Whether the operator asks the driver to save and leave; looks at most every 5 s."""
        self._check()
        if not self._stop and self.clock() - self._looked >= self._pause(_LOOK_SECONDS):
            self._look()
        return self._stop

    def _look(self) -> None:
        self._looked = self.clock()
        try:
            self._hear(self.config_map.read)
        except (TransientError, ChannelUnavailable) as problem:
            self._miss(problem)

    def _write(self, *changes: Change) -> None:
        try:
            self._hear(lambda: self.config_map.change(expect("/data/owner", self.claim), *changes))
        except ChangeRefusedError as refused:
            self._hear(self.config_map.read)
            raise ChannelUnavailable(
                f"the API server refuses what the driver writes ({refused})", at=str(self.config_map)
            ) from refused
        self._untold = None

    def _hear(self, ask: Callable[[], Content]) -> None:
        """Take in what the ConfigMap holds: a wish to stop, or the claim of another."""
        try:
            content = ask()
            if content.owner != self.claim:
                raise ClaimLost("another driver has claimed this attempt", at=str(self.config_map))
        except ClaimLost as lost:
            self._lost = lost
            raise
        self._looked, self._misses, self._denied_at = self.clock(), 0, None
        self._note_owner(content)
        self._stop = self._stop or content.stop or self._is_orphan

    def _note_owner(self, content: Content) -> None:
        """Once is no proof: it takes two looks, a minute apart, to find that the job is gone."""
        if self.job_uid in content.owners:
            self._orphaned_at = None
        elif self._orphaned_at is None:
            self._orphaned_at = self.clock()
        elif not self._is_orphan and self.clock() - self._orphaned_at >= _ORPHANED_SECONDS:
            log.warning("the job is gone; saving and leaving", extra={"job": self.job_uid})
            self._is_orphan = True

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _keep(self, progress: StageProgress) -> None:
        keep(self.store, f"{self.folder}/progress.json", progress.to_json())

    def _pending(self) -> list[Change]:
        return [assign("/data/progress.json", fit_progress(self._untold))] if self._untold else []

    def _pause(self, seconds: float) -> float:
        """The longer the API server has not listened, the longer it is left alone."""
        return min(_SLOWEST_SECONDS, seconds * 2.0 ** min(self._misses, 8))

    def _miss(self, problem: Exception) -> None:
        self._misses += 1
        if not isinstance(problem, NotAllowedError):
            self._denied_at = None
        elif self._denied_at is None:
            self._denied_at = self.clock()
        elif self.clock() - self._denied_at >= PATIENCE_SECONDS:  # its Role went with its child
            self._lost = ClaimLost(
                "nobody waits for this attempt any more: its rights are gone", at=str(self.config_map)
            )
            raise self._lost
        log.warning("no answer of use from the API server", extra={"problem": str(problem), "misses": self._misses})


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
    """Become the driver of an attempt, and put its job.json into the store for the record.

    Raises ClaimLost where the ConfigMap waits for another attempt or has a result already, and ChannelUnavailable
    where the API server can't be asked for 10 minutes.
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
                config_map, claim, job.job.uid, starts, store, attempt_folder(job), _read_spent(claimed), clock, sleep
            )
            keep(store, f"{channel.folder}/job.json", job.to_json())
            return channel
    raise ChannelUnavailable(f"the claim was refused {_CLAIMS} times", at=str(config_map))


def _try_to_claim(config_map: ConfigMap, *, token: str, claim: str) -> Content | None:
    """Claim what was read, if it still is as it was read; returns what it is then, or None where it isn't."""
    found = config_map.read()
    starts = found.data.get("starts", "")
    if not (starts.isascii() and starts.isdecimal() and len(starts) < 10):
        raise ChannelUnavailable(f"starts is {starts[:20]!r}, no count", at=str(config_map))
    if found.owner == claim:  # the reply to an earlier try was lost, not the try
        return found
    if found.owner != token and not found.owner.startswith(f"{token}:"):
        raise ClaimLost("the ConfigMap waits for another attempt", at=str(config_map))
    if "result.json" in found.data:
        raise ClaimLost("this attempt has its result already", at=str(config_map))
    try:
        return config_map.change(
            expect("/metadata/resourceVersion", found.version),  # no result has come in the meantime
            expect("/data/owner", found.owner),
            expect("/data/starts", starts),
            replace("/data/owner", claim),
            replace("/data/starts", str(int(starts) + 1)),
        )
    except ChangeRefusedError:
        return None


def _read_spent(claimed: Content) -> float:
    """GPU-seconds that the drivers before have told of; none where their last progress can't be read."""
    try:
        spent = read_stored_json(StageProgress, claimed.data.get("progress.json", "")).gpu_seconds
    except ValueError:  # there is none, or somebody else who may write the ConfigMap wrote it
        return 0.0
    return spent if 0 <= spent < math.inf else 0.0


def retry_until(
    call: Callable[[], _Given], *, at: str, clock: Callable[[], float], sleep: Callable[[float], None]
) -> _Given:
    """Try until it works, with growing pauses; raises ChannelUnavailable once an error has lasted for its timeout."""
    start, pause = clock(), 1.0
    while True:
        try:
            return call()
        except TransientError as transient:
            left = start + transient.timeout - clock()
            if left <= 0:
                raise ChannelUnavailable(
                    f"the API server can't be asked ({transient})", at=at, fix=transient.fix
                ) from transient
            log.warning("asking the API server again", extra={"problem": str(transient)})
            sleep(min(left, max(pause, min(transient.retry_after, _SLOWEST_SECONDS))))
            pause = min(2 * pause, 30.0)


def keep(store: Store, name: str, text: str) -> None:
    """Put a record into the store; one that can't be kept is no reason to hold back the message itself."""
    try:
        store.put(name, text.encode())
    except StorageUnavailable as full:
        log.warning("a record was not kept", extra={"file": name, "problem": str(full)})


def fit_progress(progress: StageProgress) -> str:
    """Encode in at most 16 KiB: figures have to go where there are too many."""
    text = progress.to_json()
    return text if _size(text) <= MESSAGE_BYTES else progress.model_copy(update={"figures": {}}).to_json()


def fit_result(result: StageResult, *, whole: str) -> str:
    """Encode in at most 16 KiB: the largest parts of the summary have to go, and then the message.

    `whole` is where the whole result lies. Raises ChannelUnavailable where even the artifacts are too many.
    """
    parts = sorted((len(json.dumps(value, default=str)), name) for name, value in result.summary.items())
    while (excess := _size(result.to_json()) - MESSAGE_BYTES) > 0 and parts:
        while excess > 0 and parts:
            excess -= parts.pop()[0]
        log.warning("figures do not fit the result", extra={"whole": whole, "kept": len(parts)})
        result = result.model_copy(update={"summary": {name: result.summary[name] for _, name in parts}})
    if _size(result.to_json()) > MESSAGE_BYTES:
        result = result.model_copy(update={"message": f"too long for the channel; it is in {whole}"[:1024]})
    text = result.to_json()
    if _size(text) > MESSAGE_BYTES:
        raise ChannelUnavailable(f"the result has {_size(text)} bytes, and {MESSAGE_BYTES} fit", at=whole)
    return text


def _size(text: str) -> int:
    return len(text.encode())
