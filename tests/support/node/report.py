"""The report of a run: what was tried on what, and where the quickstart's time went."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from support.node.context import Outcome
from support.node.images import Image
from support.node.spans import SPANS, Stage, Wall

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
            *(line for one in outcomes for wall in one.walls for line in span_lines(wall)),
            *(f"- {name}: {meaning}" for name, meaning in SPANS.items()),
            "",
        ]
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return text


def span_lines(wall: Wall) -> list[str]:
    """Return the table of spans, in seconds."""
    lines = [f"| {wall.job} | {' | '.join(SPANS)} | all |", "|---" * (len(SPANS) + 2) + "|"]
    lines += [_row(f"{stage.name} ({stage.kind})", stage) for stage in wall.stages]
    total = Stage("sum", "")
    for stage in wall.stages:
        for span in SPANS:
            total.add(span, stage.seconds[span])
    shares = " | ".join(f"{total.seconds[span] / wall.seconds:.0%}" for span in SPANS)
    lines += [_row("sum", total), f"| of the wall | {shares} | {wall.seconds:.0f} s |", ""]
    return lines


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
