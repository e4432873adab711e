"""Reuse: a stage whose artifacts are all complete ends at once, even if Prepare did not find them.

Another job with the same keys may have made them since, or an earlier driver that was killed before its result.
"""

from kubedistill.chain import CHAIN, STAGES
from kubedistill.contract import StageJob, Summary
from kubedistill.contract.store_names import artifact_folder
from kubedistill.contract.summaries import Headline
from kubedistill_runtime.checks.yields import check_yields
from kubedistill_runtime.data_files import root_path
from kubedistill_runtime.export.folders import are_filled
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import are_complete, read_figures
from kubedistill_runtime.storage.claims import remove_states
from kubedistill_runtime.storage.store import Store


def reuse_made(job: StageJob, *, store: Store) -> Outcome | None:
    """Return the outcome of a stage whose artifacts are all complete, or None if something is missing.

    Raises LowYield if an artifact satisfied the ratios of another job, but not those of this one.
    """
    makes = STAGES[job.stage].makes
    if job.stage == CHAIN[0].name or not are_complete(store, makes, keys=job.artifacts):
        return None
    if job.stage == "Export" and not _are_exported(job, store=store):
        return None
    if job.stage in ("Generate", "Curate"):
        check_yields(job.artifacts, spec=job.spec, store=store)
    if job.stage == "Train":  # a driver that was replaced may have saved more states since
        remove_states(store, artifact_folder("student", job.artifacts["student"]))
    summary = Summary()
    if job.stage == "Evaluate":
        summary = read_figures(store, "report", job.artifacts["report"], Headline)
    return Outcome(summary=summary, message="already there")


def _are_exported(job: StageJob, *, store: Store) -> bool:
    """Return whether this job's folders outside the store are filled too; the artifact's maker may have had others."""
    key = job.artifacts["export"]
    return are_filled(job.spec.export, data_root=root_path(job.data_root), store=store, key=key)
