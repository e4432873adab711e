"""The usage of a run, from the records that its attempts have left in its folder of the store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from kubedistill.chain import CHAIN, STAGES, ArtifactName, StageName
from kubedistill.contract import StageJob, StageResult
from kubedistill.contract.estimates import Estimate, RunEstimate, StageEstimate
from kubedistill.contract.summaries import EvaluateSummary, GenerateSummary
from kubedistill.report.models import Report
from kubedistill.report.usage import StageUsage, Usage
from kubedistill.stored import read_stored_json
from kubedistill.sums import sum_known
from kubedistill.v1alpha1 import unpriced_endpoint
from kubedistill_runtime.storage.store import Store

_Record = TypeVar("_Record", RunEstimate, StageJob, StageResult)

_ESTIMATE = "estimate.json"
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class AttemptUsage:
    """What one attempt at a stage took."""

    seconds: float
    gpu_seconds: float
    idle_gpu_seconds: float = 0.0
    """The part of gpu_seconds in which nothing was generated or learned for 10 s or longer."""
    tokens: int = 0
    """Tokens that teachers or students generated."""
    dollars: float = 0.0
    """US dollars that endpoints have charged."""


def record_estimate(job: StageJob, estimate: Estimate, *, keys: Mapping[ArtifactName, str], store: Store) -> None:
    """Store the estimate of a run; a stage that this run has made keeps the estimate from before it ran."""
    stages = {one.stage: one for one in estimate.stages}
    before = _read_estimate(job, store=store)
    for one in before.stages:
        made = {name: keys[name] for name in STAGES[one.stage].makes}
        if stages[one.stage].reused and made.items() <= before.artifacts.items():
            stages[one.stage] = one
    recorded = RunEstimate(artifacts=dict(keys), stages=list(stages.values()))
    store.put(f"{job.run_folder}/{_ESTIMATE}", recorded.model_dump_json(by_alias=True).encode())


def read_usage(job: StageJob, report: Report, *, store: Store, current: AttemptUsage | None) -> list[StageUsage]:
    """Return what the stages of a run took; empty if the store had all artifacts before it.

    `current` is what the attempt that makes the report took until now; None if the report existed.
    """
    estimated = {one.stage: one for one in _read_estimate(job, store=store).stages}
    usage = [
        _usage(job, stage.name, report, store=store, current=current, estimated=estimated.get(stage.name))
        for stage in CHAIN
        if stage.name != "Export"  # which runs after the report is written
    ]
    return usage if any(one.actual is not None for one in usage if one.stage != CHAIN[0].name) else []


def _read_estimate(job: StageJob, *, store: Store) -> RunEstimate:
    """Return the stored estimate of a run; without one, or if it cannot be read, one without stages."""
    return _read(RunEstimate, f"{job.run_folder}/{_ESTIMATE}", store=store) or RunEstimate(artifacts={}, stages=[])


def _usage(
    job: StageJob,
    stage: StageName,
    report: Report,
    *,
    store: Store,
    current: AttemptUsage | None,
    estimated: StageEstimate | None,
) -> StageUsage:
    now = current if stage == job.stage else None
    spent = [*_attempts(job, stage, keys=report.provenance.artifacts, store=store), *([now] if now else [])]
    known = [one for one in spent if one is not None]
    if not known:
        return StageUsage(stage=stage, estimated=estimated)
    actual = Usage(
        seconds=round(sum(one.seconds for one in known), 3),
        gpu_hours=sum(one.gpu_seconds for one in known) / _HOUR,
        idle_gpu_hours=sum(one.idle_gpu_seconds for one in known) / _HOUR,
        dollars=_dollars(job, stage, known),
        tokens=_tokens(stage, known, report=report),
        lost=len(spent) - len(known),
    )
    return StageUsage(stage=stage, estimated=estimated, actual=actual, is_over=now is None)


def _attempts(
    job: StageJob, stage: StageName, *, keys: Mapping[str, str], store: Store
) -> Iterator[AttemptUsage | None]:
    """Yield what each attempt at a stage took, except the current one; None for one that left no result.

    On one machine, runs of several specs share a folder, and an attempt names the spec that it was made for.
    """
    prefix, spent = f"{job.run_folder}/{stage.lower()}-", list[AttemptUsage | None]()
    for folder in store.names(job.run_folder):
        number = folder.removeprefix(prefix)
        if not number.isdigit() or (stage, int(number)) == (job.stage, job.attempt) or _is_other(job, folder, store):
            continue
        result = _read(StageResult, f"{folder}/result.json", store=store)
        if result is None:  # its driver was killed
            spent.append(None)
            continue
        if any(keys.get(name) != ref.key for name, ref in result.artifacts.items()):
            spent.clear()  # the data or the models have changed since
        elif result.outcome != "Succeeded" or result.summary:  # otherwise everything existed
            spent.append(_spent(result, stage=stage))
    yield from spent


def _is_other(job: StageJob, folder: str, store: Store) -> bool:
    """Return whether an attempt belongs to another spec; in a cluster, a run has one and its attempts name none."""
    made_for = _read(StageJob, f"{folder}/job.json", store=store)
    return made_for is not None and made_for.run.digest != job.run.digest


def _read(kind: type[_Record], name: str, *, store: Store) -> _Record | None:
    """Return a record of the run; None if there is none, or if it cannot be read, since nothing depends on it."""
    try:
        return read_stored_json(kind, store.read(name))
    except (FileNotFoundError, ValueError):
        return None


def _spent(result: StageResult, *, stage: StageName) -> AttemptUsage | None:
    """Return what an attempt took; None if its times or figures cannot be read."""
    try:
        seconds = datetime.fromisoformat(result.ended_at) - datetime.fromisoformat(result.started_at)
        tokens = _generated_tokens(result, stage=stage)
    except ValueError:
        return None
    return AttemptUsage(
        max(0.0, seconds.total_seconds()), result.gpu_seconds, result.idle_gpu_seconds, tokens, result.dollars
    )


def _generated_tokens(result: StageResult, *, stage: StageName) -> int:
    if stage == "Generate":
        return result.read_summary(GenerateSummary).teacher_tokens
    return result.read_summary(EvaluateSummary).student_tokens if stage == "Evaluate" else 0


def _dollars(job: StageJob, stage: StageName, spent: list[AttemptUsage]) -> float | None:
    """Return what the hardware and the endpoints of a stage cost; None without a price, or if it runs no model."""
    teachers, charged = job.spec.teachers, sum(one.dollars for one in spent)
    if stage == "Generate" and unpriced_endpoint(teachers):
        return None
    if stage == "Generate" and all(teacher.model is None for teacher in teachers):
        return charged
    price, gpus = job.hourly_price(stage), job.hardware_of(stage).gpus
    if price is None:
        return None
    hours = sum(one.gpu_seconds / gpus if gpus else one.seconds for one in spent) / _HOUR
    return hours * price + charged


def _tokens(stage: StageName, spent: list[AttemptUsage], *, report: Report) -> int | None:
    if stage == "Train":
        return sum_known([point.tokens for point in report.training.curve.train])
    tokens = sum(one.tokens for one in spent)
    return tokens if stage == "Generate" else tokens or None
