"""The channel in a cluster: a ConfigMap that only the last driver to claim it may write.

Every write begins with a test of the driver's own claim, so the API server refuses late writes of a driver that was
replaced. The ConfigMap's data are `owner` (the claim), `starts` (a count of drivers), `stop` (the operator's request),
`progress.json` and `result.json`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from kubedistill.contract import StageProgress, StageResult
from kubedistill.errors import ChannelUnavailable, ClaimLost
from kubedistill_runtime.channel.api_server import MAX_PAUSE_SECONDS, TIMEOUT_SECONDS, TransientError, retry_until
from kubedistill_runtime.channel.config_map import (
    Change,
    ChangeRefusedError,
    ConfigMap,
    Content,
    NotAllowedError,
    assign,
    expect,
)
from kubedistill_runtime.channel.messages import fit_progress, fit_result, write_record
from kubedistill_runtime.spending import Spent
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)

_PROGRESS_SECONDS, _READ_SECONDS = 10.0, 5.0
"""The shortest pause between two messages of progress, and between two reads."""
_ORPHANED_SECONDS = 60.0
"""How long a ConfigMap may lack the driver's job as owner before the driver saves and exits."""


@dataclass(slots=True)
class ConfigMapChannel:
    """One driver's claim on the ConfigMap of its attempt; made by `claiming.claim_channel`.

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
    earlier: Spent
    """What earlier drivers have spent; what this driver spends is added."""
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _unsent: StageProgress | None = field(default=None, init=False)
    """The latest progress, if it is not in the ConfigMap yet."""
    _sent_at: float = field(default=float("-inf"), init=False)
    _read_at: float = field(default=float("-inf"), init=False)
    _failures: int = field(default=0, init=False)
    """Failed calls since the last one that succeeded."""
    _denied_at: float | None = field(default=None, init=False)
    """When the API server began to deny every call."""
    _stop: bool = field(default=False, init=False)
    """Whether a stop was requested, which is never withdrawn."""
    _lost: ClaimLost | None = field(default=None, init=False)
    _orphaned_at: float | None = field(default=None, init=False)
    """When the job was first seen not to be an owner of the ConfigMap."""
    _is_orphan: bool = field(default=False, init=False)

    def publish_progress(self, progress: StageProgress) -> None:
        """Publish the progress of the stage, at most every 10 s; the latest goes with the next message or the result.

        An API server that doesn't answer never ends a stage: the next message has the later progress.
        """
        self._check()
        progress = self.earlier.add_to(progress)
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
        result = self.earlier.add_to(result)
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
        """Read the ConfigMap; a failure is noted, and does not end the stage."""
        self._read_at = self.clock()
        try:
            self._update(self.config_map.read)
        except (TransientError, ChannelUnavailable) as problem:
            self._note_failure(problem)

    def _write(self, *changes: Change) -> None:
        """Apply changes if the claim is still this driver's.

        Raises ClaimLost if it is not, TransientError if a retry may succeed, and otherwise ChannelUnavailable.
        """
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
        """Raise the ClaimLost that an earlier call has found."""
        if self._lost is not None:
            raise self._lost

    def _record(self, progress: StageProgress) -> None:
        write_record(self.store, f"{self.folder}/progress.json", progress.to_json())

    def _pending(self) -> list[Change]:
        """Return the change that publishes the latest progress, or none if it is published."""
        return [assign("/data/progress.json", fit_progress(self._unsent))] if self._unsent else []

    def _pause(self, seconds: float) -> float:
        """Return the pause before the next call, doubled with each failed one."""
        return min(MAX_PAUSE_SECONDS, seconds * 2.0 ** min(self._failures, 8))

    def _note_failure(self, problem: Exception) -> None:
        """Count a failed call; raises ClaimLost once the API server has denied every call for 10 minutes."""
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
