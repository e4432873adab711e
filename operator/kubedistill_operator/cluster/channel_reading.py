"""Reading channels: a driver's data becomes a Channel, or a problem; a hostile driver can harm only its own job."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from kubedistill.contract import ACCEPTED_CONTRACTS, MESSAGE_BYTES, StageProgress, StageResult
from kubedistill.json_values import Json
from kubedistill.manifest.problems import find_problem
from kubedistill_operator.clock import seconds_of, stamp
from kubedistill_operator.cluster.child_reading import clip
from kubedistill_operator.observed import Channel, Resource

_MOST_STARTS = 1_000_000
_MOST_COUNT = 2**53
_MOST_AMOUNT, _MOST_GPUS = 1e12, 100_000
_MOST_FIGURE, _MOST_FIGURES = 1e300, 32
_SHORT, _NAME, _KEY = 32, 253, 64
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_DIGEST = re.compile(rf"[\w.-]{{1,{_KEY}}}", re.ASCII)

Message = TypeVar("Message", StageProgress, StageResult)


@dataclass(slots=True)
class _Reading:
    """The data of one ConfigMap, and the problems found in it."""

    data: Mapping[str, Json]
    problems: list[str] = field(default_factory=list)

    def text(self, key: str) -> str:
        """Return a value; empty if it is absent or too long."""
        value = self.data.get(key, "")
        if not isinstance(value, str) or len(value.encode(errors="replace")) > MESSAGE_BYTES:
            self.problems.append(f"{key}: larger than {MESSAGE_BYTES // 1024} KiB")
            return ""
        return value

    def message(self, key: str, read: Callable[[Json], Message]) -> Message | None:
        """Return a message of the contract; None if it is absent or cannot be read."""
        text = self.text(key)
        if not text:
            return None
        try:
            return read(from_json(text, allow_inf_nan=False))
        except ValidationError as error:
            model = StageProgress if read is _read_progress else StageResult
            self.problems.append(f"{key}: {find_problem(error, model=model)}")
        except ValueError as error:
            self.problems.append(f"{key}: {error}")
        return None


def read_channel(resource: Resource) -> Channel:
    """Read an `-out` ConfigMap; never raise, whatever it contains."""
    data = resource.get("data")
    reading = _Reading(data if isinstance(data, Mapping) else {})
    starts = _read_starts(reading)
    progress = reading.message("progress.json", _read_progress)
    result = reading.message("result.json", _read_result)
    return Channel(
        owner=clip(reading.text("owner"), 2 * _NAME),
        starts=starts,
        progress=progress,
        result=result,
        stop=bool(data.get("stop")) if isinstance(data, Mapping) else False,
        problem=clip("; ".join(reading.problems)),
    )


def _read_starts(reading: _Reading) -> int:
    text = reading.text("starts")
    if text and not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= _MOST_STARTS):
        reading.problems.append("starts: not a count")
        return 0
    return int(text or 0)


def _read_progress(values: Json) -> StageProgress:
    values = _check_contract(values)
    figures = values.get("figures")
    if isinstance(figures, Mapping):  # a diverged loss is not a number, and does not invalidate the message
        values = {**values, "figures": _finite(figures)}
    found = StageProgress.model_validate(values, by_alias=True, by_name=False)
    seconds = seconds_of(found.at)
    if seconds is None:
        raise ValueError("at: not a time")
    if max(found.done, found.total) > _MOST_COUNT:
        raise ValueError("done, total: too large")
    _check_amount("gpuSeconds", found.gpu_seconds)
    _check_amount("dollars", found.dollars)
    _check_amount("idleGpuSeconds", found.idle_gpu_seconds)
    if found.gpus > _MOST_GPUS:
        raise ValueError("gpus: too many")
    _check_amount("etaSeconds", found.eta_seconds or 0.0)
    return found.model_copy(
        update={
            "at": stamp(seconds),
            "done": min(found.done, found.total) if found.total else found.done,
            "unit": clip(found.unit, _SHORT),
            "message": clip(found.message),
        }
    )


def _read_result(values: Json) -> StageResult:
    found = StageResult.model_validate(_check_contract(values), by_alias=True, by_name=False)
    _check_amount("gpuSeconds", found.gpu_seconds)
    _check_amount("dollars", found.dollars)
    _check_amount("idleGpuSeconds", found.idle_gpu_seconds)
    for name, artifact in found.artifacts.items():
        if not _DIGEST.fullmatch(artifact.key):
            raise ValueError(f"artifacts.{name}.key: not a digest")
    reason = found.reason if _REASON.fullmatch(found.reason) else ""
    return found.model_copy(
        update={
            "reason": reason,
            "message": clip(found.message),
            "cause": clip(found.cause, _SHORT),
            "summary": _plain(found.summary),
        }
    )


def _plain(value: Json) -> Json:
    """Return JSON values whose strings can be displayed."""
    if isinstance(value, dict):
        return {clip(name, _NAME): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return clip(value) if isinstance(value, str) else value


def _check_contract(values: Json) -> Mapping[str, Json]:
    """Return the message, if this version understands its contract."""
    if not isinstance(values, Mapping):
        raise ValueError("not an object")
    contract = values.get("contract")
    if type(contract) is not int or contract not in ACCEPTED_CONTRACTS:
        versions = " and ".join(map(str, ACCEPTED_CONTRACTS))
        raise ValueError(f"contract: {clip(contract, _SHORT)} is not understood, only {versions}")
    return values


def _check_amount(name: str, amount: float) -> None:
    if not 0 <= amount <= _MOST_AMOUNT:
        raise ValueError(f"{name}: not an amount")


def _finite(figures: Mapping[str, Json]) -> dict[str, float]:
    numbers = {
        clip(name, _KEY): float(value)
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and -_MOST_FIGURE < value < _MOST_FIGURE
    }
    return dict(list(numbers.items())[:_MOST_FIGURES])
