"""A driver as the contract describes it, without any work: claims its attempt, says how far it is, and how it ended."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from kubedistill.canonical import digest
from kubedistill.chain import STAGES, ArtifactName
from kubedistill.contract import ArtifactRef, StageJob, StageProgress, StageResult
from kubedistill.v1alpha1 import spec_values
from support.fake_kuberay.api import JSON_PATCH, Api, Key, Object, Refused

_TRIES = 5
_HESITATIONS, _HESITATION = 10, 0.3
_CONFLICT = (409, 422)


def now(*, ahead: float = 0.0) -> str:
    """Return the time, RFC 3339 in UTC, to the millisecond, by a clock that is so many seconds ahead."""
    return (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ClaimLost(Exception):
    """Another driver owns the attempt, or the attempt's channel is gone."""


@dataclass(slots=True)
class Driver:
    """One process of a driver, with its own id; it holds the channel as long as its claim is in it."""

    api: Api
    channel: Key
    job: StageJob
    store: set[str]
    """The keys that its store holds: what a driver would find in a real one, and leave there."""
    makes: Collection[str] = get_args(ArtifactName)
    """The artifacts that its image knows."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: str = field(default_factory=now)

    @property
    def claim_text(self) -> str:
        return f"{self.job.token}:{self.id}"

    async def claim(self) -> None:
        """Become the owner; the last one to try wins. Raises ClaimLost."""
        for _ in range(_TRIES):
            data = ((await self._read()) or {}).get("data", {})
            owner, starts = data.get("owner", ""), data.get("starts", "")
            if owner == self.claim_text:  # our patch was carried out, though its answer was lost
                return
            if owner != self.job.token and not owner.startswith(f"{self.job.token}:"):
                raise ClaimLost(owner)
            changes = [
                {"op": "test", "path": "/data/owner", "value": owner},
                {"op": "test", "path": "/data/starts", "value": starts},
                {"op": "replace", "path": "/data/owner", "value": self.claim_text},
                {"op": "replace", "path": "/data/starts", "value": str(int(starts) + 1)},
            ]
            if await self._apply(changes):
                return
        raise ClaimLost(f"not in {_TRIES} tries")

    async def progress(self, done: int, total: int, *, skew: float = 0.0, **more: Any) -> None:
        """Report how much is done, by a clock that is `skew` seconds ahead; raises ClaimLost."""
        values = {"state": "Working" if total else "Loading", "done": done, "total": total, "unit": "rows", **more}
        await self._write("progress.json", StageProgress(at=now(ahead=skew), **values).to_json())

    async def result(self, outcome: str, **more: Any) -> None:
        """Say how it ended, and keep what it made where it succeeded; raises ClaimLost."""
        values = {"artifacts": self._artifacts(more.pop("complete", None)) if outcome == "Succeeded" else {}, **more}
        if outcome == "Succeeded":
            values.setdefault("summary", summary_of(self.job, store=self.store))
        result = StageResult.model_validate(
            {"driver": self.id, "outcome": outcome, "startedAt": self.started_at, "endedAt": now(), **values}
        )
        await self._write("result.json", result.to_json())

    async def write_raw(self, name: str, text: str) -> None:
        """Write whatever is given; raises ClaimLost."""
        await self._write(name, text)

    async def _write(self, name: str, text: str) -> None:
        changes = [
            {"op": "test", "path": "/data/owner", "value": self.claim_text},
            {"op": "add", "path": f"/data/{name}", "value": text},
        ]
        if not await self._apply(changes):
            raise ClaimLost("another driver owns the attempt")

    async def _apply(self, changes: list[Object]) -> bool:
        """Patch the channel; False where a test fails, ClaimLost where it is gone or not for us."""
        try:
            await self._insist(lambda: self.api.patch("configmaps", self.channel, changes, how=JSON_PATCH))
        except Refused as error:
            if error.code in _CONFLICT:
                return False
            raise ClaimLost(str(error)) from error
        return True

    async def _read(self) -> Object | None:
        try:
            return await self._insist(lambda: self.api.get("configmaps", self.channel))
        except Refused as error:
            raise ClaimLost(str(error)) from error

    @staticmethod
    async def _insist(request: Callable[[], Awaitable[Object | None]]) -> Object | None:
        """Try again for a while: a server that has just started does not know yet who may do what."""
        for _ in range(_HESITATIONS):
            try:
                return await request()
            except Refused as error:
                if error.code not in (401, 403):
                    raise
            await asyncio.sleep(_HESITATION)
        return await request()

    def _artifacts(self, complete: list[str] | None) -> dict[str, Any]:
        """Prepare names them all, with what the store holds; another stage makes its own."""
        told = {**keys_of(self.job), **self.job.artifacts}  # what Prepare named keeps its name
        keys = {name: key for name, key in told.items() if name in self.makes}
        made = [name for name in STAGES[self.job.stage].makes if name in keys]
        self.store |= {keys[name] for name in made}
        if self.job.stage != "Prepare":
            keys = {name: keys[name] for name in made}
        return {
            name: ArtifactRef(
                key=key,
                uri=f"{self.job.store}/artifacts/{name}/{key}",
                complete=key in self.store if complete is None else name in complete,
            ).model_dump()
            for name, key in keys.items()
        }


def keys_of(job: StageJob) -> dict[ArtifactName, str]:
    """Return keys from the parts of the spec that determine each artifact, and from no others."""
    spec = spec_values(job.spec)

    def key(*parts: str, of: Mapping[str, str] | None = None) -> str:
        return digest([*((part, spec.get(part)) for part in parts), sorted((of or {}).items())])

    keys: dict[ArtifactName, str] = {"rows": key("data", "task")}
    keys["answers"] = key("teachers", "generation", of={"rows": keys["rows"]})
    keys["judge"] = key("teachers", of={"rows": keys["rows"]})
    keys["dataset"] = key("curation", of={"answers": keys["answers"]})
    keys["samples"] = key("student", "training", of={"dataset": keys["dataset"], "judge": keys["judge"]})
    keys["student"] = key("student", "training", of={"samples": keys["samples"]})
    keys["report"] = key("evaluation", of={"student": keys["student"], "judge": keys["judge"]})
    keys["export"] = key("export", of={"student": keys["student"]})
    return keys


def summary_of(job: StageJob, *, store: Collection[str]) -> dict[str, Any]:
    """Return what a stage says of itself where nothing else is asked for.

    Evaluate's figures are those of a good student.
    """
    is_judged = job.stage == "Prepare" and keys_of(job)["report"] in store
    if job.stage != "Evaluate" and not is_judged:
        return {"seconds": 1.0}
    figures = {
        "measure": "accuracy",
        "teacherAccuracy": 0.9,
        "baselineAccuracy": 0.3,
        "distilledAccuracy": 0.84,
        "retention": 0.9333,
        "gain": 0.54,
        "gapClosed": 0.9,
        "pValue": 0.0001,
    }
    judged = {**figures, "gate": {"passed": True, "reasons": []}, "seconds": 1.0}
    return {"seconds": 1.0, "report": judged} if is_judged else judged


def read_stage_job(config_map: Object | None) -> StageJob:
    """Return the StageJob in ConfigMap `<child>`; raises ValueError where it is none."""
    return StageJob.model_validate_json(((config_map or {}).get("data") or {}).get("job.json", ""))
