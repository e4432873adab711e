"""The driver: runs one attempt of one stage and turns the outcome into a StageResult."""

import logging
import uuid

from kubedistill.chain import CHAIN, STAGES, ArtifactName
from kubedistill.contract import ArtifactRef, StageJob, StageResult
from kubedistill.contract.store_names import artifact_folder
from kubedistill.contract.summaries import EvaluateSummary
from kubedistill.errors import (
    ArtifactMissing,
    ChannelUnavailable,
    ClaimLost,
    KubedistillError,
    Stopped,
    StorageUnavailable,
)
from kubedistill_runtime.channel import Channel
from kubedistill_runtime.checks.storage import check_store
from kubedistill_runtime.dependencies import missing_dependency
from kubedistill_runtime.progress import Progress, now
from kubedistill_runtime.report import place_report
from kubedistill_runtime.report.usage import AttemptUsage
from kubedistill_runtime.root_cause import name_cause
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome, make_artifacts
from kubedistill_runtime.stages.reuse import reuse_made
from kubedistill_runtime.storage.artifacts import check_needs, find, remove_broken
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)


def run_stage(
    job: StageJob, *, store: Store, channel: Channel, engines: Engines, driver: str = ""
) -> tuple[StageResult, KubedistillError | None]:
    """Run a stage, and return its result and its error, if any.

    `driver` is the id that claimed the attempt, if it was claimed. Raises ClaimLost if another driver has claimed it
    since.
    """
    started, driver = now(), driver or uuid.uuid4().hex
    log.info("stage started", extra={"driver": driver})
    progress = Progress(channel.publish_progress, channel.asked_to_stop, gpus=engines.gpus)
    error: KubedistillError | None = None
    try:
        check_store(job, store=store)
        outcome = reuse_made(job, store=store) or _make(job, store=store, progress=progress, engines=engines)
        artifacts = _artifacts(job, outcome, store=store)
        if (report := artifacts.get("report")) is not None and report.complete:
            current = _usage_until_now(outcome, progress) if job.stage == "Evaluate" else None
            place_report(job, artifact=artifact_folder("report", report.key), store=store, current=current)
        result = StageResult(
            driver=driver,
            outcome="Succeeded",
            started_at=started,
            ended_at=now(),
            artifacts=artifacts,
            summary=outcome.summary.to_values(),
            message=outcome.message,
        )
    except KubedistillError as caught:
        error = caught if isinstance(caught, Stopped | ClaimLost) else _find_missing(job, store=store) or caught
        result = _failure(error, driver=driver, started=started)
    except Exception as caught:  # a stage may run any model; its bug must give a result, not a silent exit
        log.exception("stage raised", extra={"driver": driver})
        error = (
            _find_missing(job, store=store)
            or missing_dependency(caught, at=job.stage)
            or _UnexpectedError(name_cause(caught), at=job.stage, fix="The traceback is in driver.log")
        )
        result = _failure(error, driver=driver, started=started)
    result = progress.spent().add_to(result)
    log.info("stage ended", extra={"driver": driver, "outcome": result.outcome, "reason": result.reason})
    try:
        channel.publish_result(result)
    except (StorageUnavailable, ChannelUnavailable) as unpublished:  # often the stage failed of the same full disk
        error = error or unpublished
    return result, error


def _usage_until_now(outcome: Outcome, progress: Progress) -> AttemptUsage:
    spent, summary = progress.spent(), outcome.summary
    tokens = summary.student_tokens if isinstance(summary, EvaluateSummary) else 0
    return AttemptUsage(progress.seconds(), spent.gpu_seconds, spent.idle_gpu_seconds, tokens)


class _UnexpectedError(KubedistillError):
    reason = "UserCodeError"


def _make(job: StageJob, *, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Check what the stage reads, remove what earlier drivers left unfinished, and run the stage."""
    check_needs(job, store=store)
    if job.stage == CHAIN[0].name:
        store.sweep()
    else:
        for name in STAGES[job.stage].makes:
            remove_broken(store, name, job.artifacts[name])
    return make_artifacts(job, store=store, progress=progress, engines=engines)


def _find_missing(job: StageJob, *, store: Store) -> ArtifactMissing | None:
    """Return the artifact that vanished while the stage read it, if any, since that causes the stage's error."""
    try:
        check_needs(job, store=store)
    except ArtifactMissing as missing:
        return missing
    except StorageUnavailable:  # the store can't be read, which the stage's own error reports
        return None
    return None


def _failure(error: KubedistillError, *, driver: str, started: str) -> StageResult:
    return StageResult(
        driver=driver,
        outcome="Stopped" if isinstance(error, Stopped) else "Failed",
        cause=error.cause,
        reason=error.reason,
        message=_readable(error)[:4096],
        started_at=started,
        ended_at=now(),
    )


def _readable(error: KubedistillError) -> str:
    """Return the error's text; file names in it may have bytes that are not UTF-8."""
    return str(error).encode(errors="replace").decode()


def _artifacts(job: StageJob, outcome: Outcome, *, store: Store) -> dict[ArtifactName, ArtifactRef]:
    """Return every artifact of the run for Prepare, and the artifacts that it makes for any other stage."""
    keys = outcome.keys or {name: job.artifacts[name] for name in STAGES[job.stage].makes}
    return {name: find(store, name, key) for name, key in keys.items()}
