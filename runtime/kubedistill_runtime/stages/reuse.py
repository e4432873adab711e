"""Reuse: a stage all of whose artifacts are there is over at once, however long ago Prepare looked.

Another job of the same work may have made them since, or an earlier driver that was killed before it told of it.
"""

from kubedistill.chain import CHAIN, STAGES
from kubedistill.contract import StageJob, Summary
from kubedistill.contract.summaries import Headline
from kubedistill_runtime.checks.yields import check_yields
from kubedistill_runtime.choices import root_path
from kubedistill_runtime.export.folders import are_filled
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import find, folder_of, read_figures
from kubedistill_runtime.storage.claims import end_line
from kubedistill_runtime.storage.store import Store


def reuse_made(job: StageJob, *, store: Store) -> Outcome | None:
    """What a stage leaves where all that it makes is there already; None where something is to be made.

    Raises LowYield where another job asked for less of what is there than this one does.
    """
    makes = STAGES[job.stage].makes
    if job.stage == CHAIN[0].name or not all(find(store, name, job.artifacts[name]).complete for name in makes):
        return None
    if job.stage == "Export" and not _are_exported(job, store=store):
        return None
    if job.stage in ("Generate", "Curate"):
        check_yields(job.artifacts, spec=job.spec, store=store)
    if job.stage == "Train":  # a driver that was overtaken may have saved more since
        end_line(store, folder_of("student", job.artifacts["student"]))
    summary = Summary()
    if job.stage == "Evaluate":
        summary = read_figures(store, "report", job.artifacts["report"], Headline)
    return Outcome(summary=summary, message="already there")


def _are_exported(job: StageJob, *, store: Store) -> bool:
    """Whether the folders outside the store are filled too: they may be others than those of who made the artifact."""
    key = job.artifacts["export"]
    return are_filled(job.spec.export, data_root=root_path(job.data_root), store=store, key=key)
