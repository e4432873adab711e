"""The report: the same facts for machines (JSON), for a terminal (Markdown) and for people (HTML)."""

from collections.abc import Mapping

from kubedistill.contract import StageJob
from kubedistill.report.models import Report
from kubedistill.stored import read_stored_json
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


def place_report(store: Store, *, artifact: str, run: str, names: Mapping[str, str], title: str) -> None:
    """Copy a report from its artifact's folder to the folder of its run, where a person looks for it.

    The artifact may come from another job with the same keys; `names` are the fields of provenance for this run.
    """
    report = read_stored_json(Report, store.read(f"{artifact}/report.json"))
    known = report.provenance
    own = known.model_copy(update=dict(names))
    if own == known:
        for form in FORMS:
            store.put(f"{run}/report.{form}", store.read(f"{artifact}/report.{form}"))
        return
    made_by = f"{known.job}, run {known.run}"
    if known.job.partition("/")[0] != names["job"].partition("/")[0]:
        made_by = "a job of another namespace"  # the reader of this report may have no access to that job
    named = report.model_copy(update={"provenance": own.model_copy(update={"made_by": made_by})})
    write_report(named, store=store, folder=run, title=title)
