"""report.html: one self-contained page, the verdict first."""

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from kubedistill.report import Report
from kubedistill.report_table import headline, short_p, table_lines
from kubedistill_runtime.report.plots import plot_curve, plot_labels, plot_scores


def render_page(report: Report, *, title: str) -> str:
    """Render the page; all text from records is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("kubedistill_runtime.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=("j2",)),
        undefined=StrictUndefined,
    )
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    environment.filters["short_p"] = short_p
    plots = {"scores": plot_scores(report), "curve": plot_curve(report.training["curve"])}
    if report.labels:
        plots["labels"] = plot_labels(report.labels)
    return environment.get_template("page.html.j2").render(
        report=report,
        title=title,
        headline=headline(report),
        lines=table_lines(report),
        # Our own drawings; their text nodes were escaped by matplotlib.
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704
    )
