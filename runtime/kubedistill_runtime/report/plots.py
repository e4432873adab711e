"""The report's plots, as SVG text that follows the page's colours."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib.figure import Figure

from kubedistill.report import Arm, Report

TEACHER, BASELINE, DISTILLED = "#8b7fd6", "#9aa5b1", "#0d9488"
_NEUTRAL = "#7d8590"  # readable on white and on near-black
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "kubedistill", "font.family": "sans-serif", "font.size": 11,
    "text.color": _NEUTRAL, "axes.labelcolor": _NEUTRAL, "axes.edgecolor": _NEUTRAL, "xtick.color": _NEUTRAL,
    "ytick.color": _NEUTRAL, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def plot_scores(report: Report) -> str:
    """Score of the three arms, with 95 % intervals where there are references."""
    arms = _arms(report)
    figure, axes = _figure(width=5.2)
    values = [arm.agreement if arm.accuracy is None else arm.accuracy for _, arm, _ in arms]
    bars = axes.barh([name for name, _, _ in arms], values, color=[colour for _, _, colour in arms], height=0.6)
    for (_, arm, _), value, bar in zip(arms, values, bars, strict=True):
        low, high = arm.accuracy_ci95 or (value, value)
        middle = bar.get_y() + bar.get_height() / 2
        axes.plot([low, high], [middle, middle], color=_NEUTRAL, linewidth=2)
        axes.text(max(high, value) + 0.02, middle, f"{value:.1%}", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    return _svg(figure)


def plot_curve(curve: dict[str, Any]) -> str:
    """Training and validation loss by step."""
    figure, axes = _figure(width=5.2)
    train, validation = curve["train"], curve["validation"]
    steps, losses = [point["step"] for point in train], [point["loss"] for point in train]
    axes.plot(steps, losses, color=BASELINE, linewidth=0.6, alpha=0.5)
    axes.plot(steps, _smooth(losses), color=DISTILLED, linewidth=1.6, label="training")
    points = [(point["step"], point["loss"]) for point in validation]
    if points:
        axes.plot(
            *zip(*points, strict=True), color=TEACHER, marker="o", markersize=3, linewidth=1.4, label="validation"
        )
        axes.axvline(curve["bestStep"], color=_NEUTRAL, linestyle=":", linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per id)")
    if min(losses, default=0) > 0:
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return _svg(figure)


def plot_labels(labels: Sequence[dict[str, Any]]) -> str:
    """Per label, how far the student came from baseline to distilled, and where the teacher is."""
    figure, axes = _figure(width=10.6, height=0.7 + 0.26 * len(labels))
    for place, label in enumerate(labels):
        axes.plot([label["baseline"], label["distilled"]], [place, place], color=DISTILLED, linewidth=2, alpha=0.5)
    for name, colour, marker in (("baseline", BASELINE, "o"), ("teacher", TEACHER, "|"), ("distilled", DISTILLED, "o")):
        axes.plot(
            [label[name] for label in labels], range(len(labels)), marker, color=colour, label=name,
            markersize=10 if marker == "|" else 6, markeredgewidth=2 if marker == "|" else 0,
        )  # fmt: skip
    axes.set_yticks(range(len(labels)), [label["label"] for label in labels])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return _svg(figure)


def _arms(report: Report) -> list[tuple[str, Arm, str]]:
    arms = report.arms
    return [
        ("teacher", arms.teacher, TEACHER),
        ("before", arms.baseline, BASELINE),
        ("distilled", arms.distilled, DISTILLED),
    ]


def _smooth(values: Sequence[float]) -> list[float]:
    """Exponential mean over about 30 steps."""
    smooth: list[float] = []
    mean = values[0] if values else 0.0
    for value in values:
        mean += (value - mean) / min(30, len(smooth) + 1)
        smooth.append(mean)
    return smooth


def _figure(*, width: float, height: float = 2.6) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    sink = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]
