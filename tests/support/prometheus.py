"""Prometheus: promtool to test rules and metrics, and a server that scrapes; from Debian's package, or on the PATH.

`PYTHONPATH=tests python -m support.prometheus` fetches both into the user's cache; exit code 3 where that fails.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.debian_programs import fetch
from support.go_builds import NoBinaries, have, locked
from support.kube_api import wait_for
from support.operator_process import free_port

PROGRAMS = ("prometheus", "promtool")

Sample = tuple[dict[str, str], float]


class PromtoolFailed(Exception):
    """promtool found fault; the message is its own."""


def find_program(name: str) -> Path:
    """Return where prometheus or promtool is; raises NoBinaries where it is nowhere."""
    if found := shutil.which(name):
        return Path(found)
    if (kept := _cache() / name).is_file():
        return kept
    raise NoBinaries(f"{name} not found; run `make prometheus`")


def make_programs() -> list[Path]:
    """Find both or fetch them; raises NoBinaries where there is nothing to do it with."""
    with locked(_cache()):
        try:
            return [find_program(name) for name in PROGRAMS]
        except NoBinaries:
            fetch("prometheus", PROGRAMS, into=_cache(), wanted="Prometheus 2.42 or newer")
    return [find_program(name) for name in PROGRAMS]


def promtool(*arguments: str | Path, given: str = "") -> str:
    """Return what promtool prints; raises PromtoolFailed with what it says."""
    command = [str(find_program("promtool")), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PromtoolFailed(f"{done.stdout}{done.stderr}".strip())
    return done.stdout


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes some ports of loopback every second."""

    port: int

    def query(self, expression: str) -> list[Sample]:
        """Return the labels and value of each series of an instant query; raises QueryFailed where it is not PromQL."""
        found = self._ask("query", {"query": expression})
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Return alerts that are pending or firing."""
        return list(self._ask("alerts", {})["alerts"])

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, with the health of their last evaluation."""
        return [rule for group in self._ask("rules", {})["groups"] for rule in group["rules"]]

    def targets_up(self) -> bool:
        """Return whether every target answered its last scrape."""
        targets = self._ask("targets", {})["activeTargets"]
        return bool(targets) and all(one["health"] == "up" for one in targets)

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _ask(self, path: str, values: Mapping[str, str]) -> Any:
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(values)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise QueryFailed(f"{values}: {error.read().decode()}") from error


class QueryFailed(Exception):
    """Prometheus refused a query; the message is its own."""


@contextmanager
def prometheus(folder: Path, *, ports: Sequence[int], rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Scrape /metrics of some ports as the chart's ServiceMonitor would, and evaluate rules, until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [f"127.0.0.1:{port}" for port in ports]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [{"job_name": "kubedistill", "honor_labels": True, "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        str(find_program("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    found = Prometheus(port)
    try:
        wait_for(found.is_ready, what=f"Prometheus answers; {folder / 'prometheus.log'} says why not", seconds=120)
        yield found
    finally:
        process.kill()
        process.wait()


def _cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "kubedistill" / "prometheus"


def main() -> int:
    """Have both programs, or say what is missing."""
    return have(make_programs)


if __name__ == "__main__":
    sys.exit(main())
