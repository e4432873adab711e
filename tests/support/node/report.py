"""The report of a run: what was tried on what, and where the quickstart's time went."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from support.node.images import Image
from support.node.scenarios import Outcome
from support.node.spans import SPANS, Stage

ROOT = Path(__file__).parents[3]
MOST_OURS = 0.10


def write_report(
    file: Path, outcomes: Sequence[Outcome], *, images: Sequence[Image], kuberay: str, failure: str
) -> str:
    """Write the report, and return it."""
    text = "\n".join(
        [
            "# make e2e-node",
            "",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {_machine()}.",
            f"KubeRay: {kuberay}. Images: " + ", ".join(f"{one.tag} ({one.id[:12]})" for one in images) + ".",
            "",
            "| scenario | s | seen |",
            "|---|---|---|",
            *(f"| {one.name} | {one.seconds:.0f} | {one.seen} |" for one in outcomes),
            *([f"| **failed** | | {failure} |"] if failure else []),
            "",
            *(line for one in outcomes if one.stages for line in span_lines(one)),
        ]
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return text


def span_lines(outcome: Outcome) -> list[str]:
    """The table of spans, in seconds."""
    lines = [f"| {outcome.name} | {' | '.join(SPANS)} | all |", "|---" * (len(SPANS) + 2) + "|"]
    lines += [_row(f"{stage.name} ({stage.kind})", stage) for stage in outcome.stages]
    total = Stage("sum", "")
    for stage in outcome.stages:
        for span in SPANS:
            total.add(span, stage.seconds[span])
    shares = " | ".join(f"{total.seconds[span] / outcome.seconds:.0%}" for span in SPANS)
    lines += [_row("sum", total), f"| of the wall | {shares} | {outcome.seconds:.0f} s |", ""]
    return [*lines, *(f"- {name}: {meaning}" for name, meaning in SPANS.items()), ""]


def ours_share(outcome: Outcome) -> float:
    """How much of the wall is ours."""
    return sum(stage.seconds["ours"] for stage in outcome.stages) / outcome.seconds


def _row(name: str, stage: Stage) -> str:
    cells = [f"{stage.seconds[span]:.1f}" for span in SPANS]
    return f"| {name} | {' | '.join(cells)} | {sum(stage.seconds.values()):.1f} |"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}, load {load:.0f} at the end"
