"""A small job on the quickstart's real models, and the command line that runs it."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

OFFLINE = (sys.executable, str(Path(__file__).with_name("offline.py")))
"""A prefix that runs a command where there is no network but loopback."""
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
KUBEDISTILL = str(Path(sys.executable).with_name("kubedistill"))
MARK = "KUBEDISTILL_TEST"
ROWS = {"train": 64, "validation": 16, "test": 24}


@dataclass(frozen=True, slots=True)
class SmallJob:
    """Write a manifest and 64 training records; `edit` changes its spec."""

    manifest: Path
    spec: dict[str, Any] = field(default_factory=dict)

    def edit(self, **parts: Any) -> None:
        self.spec.update(parts)
        manifest = {
            "apiVersion": "kubedistill.io/v1alpha1",
            "kind": "DistillationJob",
            "metadata": {"name": "small"},
            "spec": self.spec,
        }
        self.manifest.write_text(json.dumps(manifest))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, what it said, and what it left running."""

    code: int
    events: list[dict[str, Any]]
    stderr: str
    mark: str

    def states(self) -> dict[str, str]:
        """Return the last state of each stage."""
        return {event["stage"]: event["state"] for event in self.events if event.get("event") == "stage"}

    def summary(self, stage: str) -> dict[str, Any]:
        """Return what a stage that succeeded said of itself."""
        found = [event for event in self.events if event.get("stage") == stage and event.get("state") == "Succeeded"]
        return found[-1]["summary"]


def small_spec() -> dict[str, Any]:
    spec = YAML(typ="safe", pure=True).load((QUICKSTART / "job.yaml").read_text())["spec"]
    spec["teachers"][0]["model"]["source"] = str(QUICKSTART / "teacher")
    spec["student"]["model"]["source"] = str(QUICKSTART / "student")
    spec["data"] = {split: {"uri": f"{split}.jsonl"} for split in ROWS}
    spec["training"] |= {"epochs": 15, "checkpoint": {"everyMinutes": 0.001}}
    spec["evaluation"] = {"gate": {"requireSignificance": False}}
    return spec


def make_job(folder: Path) -> SmallJob:
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in ROWS.items():
        lines = (QUICKSTART / "data" / f"{split}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{split}.jsonl").write_text("".join(lines[:count]))
    job = SmallJob(folder / "job.yaml", small_spec())
    job.edit()
    return job


def start(
    manifest: Path, store: Path, *, prefix: tuple[str, ...] = (), mark: str | None = None
) -> subprocess.Popen[str]:
    """Start `kubedistill run` in a process group of its own; all it starts carries the mark."""
    return subprocess.Popen(
        [*prefix, KUBEDISTILL, "run", str(manifest), "--store", str(store), "--json", "--verbose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, MARK: mark or uuid.uuid4().hex},
    )


def finish(process: subprocess.Popen[str], *, mark: str = "") -> Ended:
    stdout, stderr = process.communicate(timeout=400)
    events = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    return Ended(process.returncode, events, stderr, mark)


def run_job(manifest: Path, store: Path, *, prefix: tuple[str, ...] = ()) -> Ended:
    """Run a job to its end; nothing that it started may outlive it."""
    mark = uuid.uuid4().hex
    ended = finish(start(manifest, store, prefix=prefix, mark=mark), mark=mark)
    assert not alive(mark), "a process outlived the run"
    return ended


def alive(mark: str) -> list[psutil.Process]:
    """Return the processes that carry a mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked, or is none of ours
            continue
    return found


@dataclass(frozen=True, slots=True)
class Reference:
    """The small job, run to its end without disturbance and without a network."""

    job: SmallJob
    store: Path
    ended: Ended
