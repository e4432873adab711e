"""The report: the same facts for machines (JSON), for a terminal (Markdown) and for people (HTML)."""

from kubedistill.contract import StageJob
from kubedistill.report.models import Provenance, Report
from kubedistill.stored import read_stored_json
from kubedistill_runtime.report.usage import AttemptUsage, read_usage
from kubedistill_runtime.storage.store import Store

FORMS = ("json", "md", "html")


def write_report(report: Report, *, store: Store, folder: str, title: str) -> None:
    """Write report.json, report.md and report.html into a folder of the store."""
    from kubedistill_runtime.report.markdown import render_markdown
    from kubedistill_runtime.report.page import render_page  # imports matplotlib, which is slow

    files = {
        "report.json": report.model_dump_json(by_alias=True, indent=1),
        "report.md": render_markdown(report, title=title),
        "report.html": render_page(report, title=title),
    }
    for name, text in files.items():
        store.put(f"{folder}/{name}", text.encode())


def names_of(job: StageJob) -> dict[str, str]:
    """Return the fields of a report's provenance that identify its run."""
    return {"job": f"{job.job.namespace}/{job.job.name}", "run": job.run.id, "spec_digest": job.run.digest}


def place_report(job: StageJob, *, artifact: str, store: Store, current: AttemptUsage | None) -> None:
    """Write the report of an artifact to the folder of its run, where a person looks for it, with the run's own facts.

    The artifact may come from another job with the same keys. `current` is what the attempt that has made it took;
    without, the report existed, and one that this run has placed already is kept.
    """
    report = read_stored_json(Report, store.read(f"{artifact}/report.json"))
    own = report.model_copy(
        update={
            "provenance": _name(report.provenance, job),
            "usage": read_usage(job, report, store=store, current=current),
        }
    )
    if current is None and _is_placed(own, job, store=store):
        return
    if own == report:
        for form in FORMS:
            store.put(f"{job.run_folder}/report.{form}", store.read(f"{artifact}/report.{form}"))
        return
    write_report(own, store=store, folder=job.run_folder, title=job.job.name)


def _name(known: Provenance, job: StageJob) -> Provenance:
    """Return the provenance of a report with the names of this run, and of the run that made it if that is another."""
    names = names_of(job)
    own = known.model_copy(update=names)
    if own == known:
        return known
    made_by = f"{known.job}, run {known.run}"
    if known.job.partition("/")[0] != names["job"].partition("/")[0]:
        made_by = "a job of another namespace"  # the reader of this report may have no access to that job
    return own.model_copy(update={"made_by": made_by})


def _is_placed(report: Report, job: StageJob, *, store: Store) -> bool:
    """Return whether the folder of the run has this report, whatever usage it names."""
    try:
        placed = read_stored_json(Report, store.read(f"{job.run_folder}/report.json"))
    except (FileNotFoundError, ValueError):  # there is none, or another version wrote it
        return False
    whole = all(store.exists(f"{job.run_folder}/report.{form}") for form in FORMS)
    return whole and placed.model_copy(update={"usage": report.usage}) == report
