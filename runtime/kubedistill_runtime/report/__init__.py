"""The report: the same facts for machines (JSON), for a terminal (Markdown) and for people (HTML)."""

from kubedistill.report import Report
from kubedistill_runtime.storage.store import Store

FORMS = ("json", "md", "html")


def write_report(report: Report, *, store: Store, folder: str, title: str) -> None:
    """Write report.json, report.md and report.html into a folder of the store."""
    from kubedistill_runtime.report.markdown import render_markdown
    from kubedistill_runtime.report.page import render_page  # brings matplotlib; the warm path goes without

    files = {
        "report.json": report.model_dump_json(by_alias=True, indent=1),
        "report.md": render_markdown(report, title=title),
        "report.html": render_page(report, title=title),
    }
    for name, text in files.items():
        store.put(f"{folder}/{name}", text.encode())


def place_report(store: Store, *, artifact: str, run: str) -> None:
    """Copy a report from its artifact's folder to its run's, where a person looks; the artifact may be older."""
    for form in FORMS:
        store.put(f"{run}/report.{form}", store.read(f"{artifact}/report.{form}"))
