"""The report's plots, as SVG text with the page's colors and font."""

import io
import re
from collections.abc import Callable, Sequence

import matplotlib as mpl

mpl.use("svg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from kubedistill.contract.artifacts import Curve
from kubedistill.report.models import Report

TEACHER, BASELINE, DISTILLED = "#8b7fd6", "#9aa5b1", "#0d9488"
# Placeholders for the page's colors, which differ between light and dark mode.
_INK, _DIM = "#010203", "#040506"
_PAGE = {_INK: "var(--ink)", _DIM: "var(--dim)"}
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "kubedistill", "font.family": "sans-serif", "font.size": 11,
    "text.color": _INK, "axes.labelcolor": _DIM, "axes.edgecolor": _DIM, "xtick.color": _DIM, "ytick.color": _DIM,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip


def plot_scores(report: Report) -> str:
    """Plot the scores of the three arms, with 95% intervals if there are references."""
    arms = (report.arms.teacher, report.arms.baseline, report.arms.distilled)
    bars = list(zip(("teacher", "before", "distilled"), arms, (TEACHER, BASELINE, DISTILLED), strict=True))

    def paint(axes: Axes) -> None:
        for place, (_, arm, color) in enumerate(bars):
            value = arm.agreement if arm.accuracy is None else arm.accuracy
            if value is None:
                continue
            axes.barh(place, value, color=color, height=0.6)
            if arm.accuracy_ci95 is not None:
                axes.plot(arm.accuracy_ci95, [place, place], color=_INK, linewidth=1.6)
            end = max((value, *(arm.accuracy_ci95 or ())))
            axes.text(end + 0.02, place, f"{value:.1%}", va="center")
        axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])

    return _draw(paint)


def plot_curve(curve: Curve) -> str:
    """Plot the training and validation loss by step."""
    steps, losses = [point.step for point in curve.train], [point.loss for point in curve.train]

    def paint(axes: Axes) -> None:
        axes.plot(steps, losses, color=BASELINE, linewidth=0.6, alpha=0.5)
        axes.plot(steps, _smooth(losses), color=DISTILLED, linewidth=1.6, label="training")
        if curve.validation:
            points = [(point.step, point.loss) for point in curve.validation]
            axes.plot(*zip(*points, strict=True), color=TEACHER, marker="o", markersize=3, label="validation")
            axes.axvline(curve.best_step, color=_DIM, linestyle=":", linewidth=1.2, label="best checkpoint")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        if min(losses, default=0) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()

    return _draw(paint)


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the exponential moving average over about 30 steps."""
    smooth: list[float] = []
    mean = values[0] if values else 0.0
    for value in values:
        mean += (value - mean) / min(30, len(smooth) + 1)
        smooth.append(mean)
    return smooth


def _draw(paint: Callable[[Axes], None]) -> str:
    """Return a figure as SVG; the same figure always gives the same text."""
    sink = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        paint(figure.subplots())
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(sink, format="svg", transparent=True, metadata=nothing)
    text = sink.getvalue()
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text[text.index("<svg") :])
    return re.sub("|".join(_PAGE), lambda found: _PAGE[found[0]], text)
