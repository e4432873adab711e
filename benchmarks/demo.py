"""The demo: its time, its memory (summed PSS of all its processes), and how fast it starts again unchanged."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import psutil
from quietness import probe

ROOT = Path(__file__).parents[1]
STORE = ROOT / "build" / "bench-demo"
COMMAND = [
    str(Path(sys.executable).with_name("kubedistill")), "run", str(ROOT / "examples/quickstart/job.yaml"),
    "--store", str(STORE), "--json",
]  # fmt: skip
_GIB = 2**30


def main() -> int:
    shutil.rmtree(STORE, ignore_errors=True)
    quiet = probe()
    seconds, peak, events = run()
    again, _, events_again = run()
    report = json.loads(Path(events[-1]["report"]["json"]).read_text())
    for event in events:
        if event.get("event") == "stage" and "seconds" in event:
            print(f"{event['stage']:<9} {event['seconds']:7.1f} s")
    figures = {
        "seconds": round(seconds, 1),
        "peakPssGiB": round(peak / _GIB, 2),
        "againSeconds": round(again, 2),
        "gapClosed": round(report["comparison"]["gapClosed"], 3),
        "pValue": report["comparison"]["pValue"],
        "accuracy": {arm: round(values["accuracy"], 4) for arm, values in report["arms"].items()},
        "probeRatio": round(probe() / quiet, 2),
        "load": [round(one, 2) for one in os.getloadavg()],
    }
    print(json.dumps({"figures": figures}))
    started = {event["stage"] for event in events_again if event.get("state") == "Running"}
    holds = seconds <= 120 and peak <= 4 * _GIB and again < 3 and started == {"Prepare"}
    return 0 if holds and figures["gapClosed"] >= 0.70 and figures["pValue"] < 0.01 else 1


def run() -> tuple[float, int, list[dict]]:  # type: ignore[type-arg]
    """Run the job; returns seconds, peak summed PSS in bytes, and its events."""
    peak, ended = [0], Event()
    began = time.monotonic()
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
    watcher = Thread(target=watch, args=(process.pid, peak, ended))
    watcher.start()
    stdout, _ = process.communicate()
    seconds = time.monotonic() - began
    ended.set()
    watcher.join()
    return seconds, peak[0], [json.loads(line) for line in stdout.splitlines()]


def watch(pid: int, peak: list[int], ended: Event) -> None:
    """Keep the highest sum of proportional set sizes over a process and all under it."""
    while not ended.wait(0.5):
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:  # it has just ended
            return
        total = 0
        for process in family:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # a helper that came and went
                continue
        peak[0] = max(peak[0], total)


if __name__ == "__main__":
    sys.exit(main())
