"""The demo against the same demo of an early commit: time, CPU time, memory, and how fast it starts again unchanged.

Both run the same manifest with the same libraries, in turn, so that a change of the machine's speed affects both.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Thread

import psutil
from quietness import probe

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bench-demo"
BEFORE = "899a3e6"
"""The commit that the time is compared with."""
ROUNDS, MOST = 3, 0.64
_COMMAND = "import sys; from kubedistill.cli.app import main; sys.exit(main())"
_GIB = 2**30
_SAMPLE_SECONDS, _SAMPLES_PER_MEMORY = 0.5, 4


@dataclass(slots=True)
class Run:
    """One run of the demo, and what its processes used."""

    seconds: float = 0.0
    events: list[dict] = field(default_factory=list)  # type: ignore[type-arg]
    peak: int = 0
    """Highest sum of proportional set sizes, in bytes."""
    cpu: dict[int, float] = field(default_factory=dict)
    """CPU seconds of each process, as last seen."""

    @property
    def cpu_seconds(self) -> float:
        return sum(self.cpu.values())

    @property
    def report(self) -> dict:  # type: ignore[type-arg]
        return json.loads(Path(self.events[-1]["report"]["json"]).read_text())  # type: ignore[no-any-return]


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    trees = {"before": check_out(FOLDER / BEFORE), "now": ROOT}
    quiet, runs = probe(), dict[str, list[Run]]({name: [] for name in trees})
    for number in range(ROUNDS):
        for name, tree in trees.items():
            runs[name].append(one := run(tree, store=FOLDER / f"{name}-{number}"))
            print(f"{name:<6} {one.seconds:6.1f} s, CPU {one.cpu_seconds:6.1f} s, {stages_of(one)}", flush=True)
    again = run(ROOT, store=FOLDER / f"now-{ROUNDS - 1}")
    seconds = {name: median(one.seconds for one in each) for name, each in runs.items()}
    report = runs["now"][-1].report
    figures = {
        "seconds": {name: [round(one.seconds, 1) for one in each] for name, each in runs.items()},
        "ratio": round(seconds["now"] / seconds["before"], 3),
        "cpuSeconds": {name: round(median(one.cpu_seconds for one in each), 1) for name, each in runs.items()},
        "peakPssGiB": {name: round(max(one.peak for one in each) / _GIB, 2) for name, each in runs.items()},
        "againSeconds": round(again.seconds, 2),
        "gapClosed": round(report["comparison"]["gapClosed"], 3),
        "pValue": report["comparison"]["pValue"],
        "accuracy": {arm: round(values["accuracy"], 4) for arm, values in report["arms"].items()},
        "probeRatio": round(probe() / quiet, 2),
        "load": [round(one, 2) for one in os.getloadavg()],
    }
    print(json.dumps({"figures": figures}))
    started = {event["stage"] for event in again.events if event.get("state") == "Running"}
    memory = max(one.peak for one in runs["now"]) <= 4 * _GIB
    holds = figures["ratio"] <= MOST and memory and again.seconds < 3 and started == {"Prepare"}
    return 0 if holds and figures["gapClosed"] >= 0.70 and figures["pValue"] < 0.01 else 1


def check_out(folder: Path) -> Path:
    """Check out the early commit into a folder, without its history."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    return folder


def run(tree: Path, *, store: Path) -> Run:
    """Run the demo of a tree, and watch its processes."""
    found, ended = Run(), Event()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "run", "examples/quickstart/job.yaml", "--store", str(store), "--json"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(tree / one) for one in ("api", "operator", "runtime"))},
        stdout=subprocess.PIPE,
        text=True,
    )
    watcher = Thread(target=watch, args=(process.pid, found, ended))
    watcher.start()
    stdout, _ = process.communicate()
    found.seconds = time.monotonic() - began
    ended.set()
    watcher.join()
    found.events = [json.loads(line) for line in stdout.splitlines()]
    if process.returncode:
        sys.exit(f"the demo of {tree} ended with {process.returncode}: {stdout[-1000:]}")
    return found


def watch(pid: int, found: Run, ended: Event) -> None:
    """Sample the CPU time of a process and all under it, and less often their memory, which costs CPU time to read."""
    for sample in itertools.count():
        if ended.wait(_SAMPLE_SECONDS):
            return
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:  # it has just ended
            return
        total, with_memory = 0, sample % _SAMPLES_PER_MEMORY == 0
        for process in family:
            try:
                used = process.cpu_times()
                found.cpu[process.pid] = used.user + used.system
                total += process.memory_full_info().pss if with_memory else 0
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # a helper that came and went
                continue
        found.peak = max(found.peak, total)


def stages_of(one: Run) -> str:
    """Return the seconds of each stage, on one line."""
    ended = [event for event in one.events if event.get("event") == "stage" and "seconds" in event]
    return ", ".join(f"{event['stage']} {event['seconds']:.1f}" for event in ended)


if __name__ == "__main__":
    sys.exit(main())
