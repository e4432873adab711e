"""A replica of the operator as a process of its own, as it runs in a pod."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

COMMAND = [sys.executable, "-m", "kubedistill_operator"]


@dataclass
class Replica:
    """One process, its port and its log."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def probe(self, path: str) -> int:
        """Return the HTTP status of a probe; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def readiness(self) -> str:
        """Return what /readyz says; empty where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except OSError:
            return ""

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return all series by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
        }

    def leads(self) -> bool:
        """Return whether it says that it leads; one that has no time to answer does not."""
        if self.process.poll() is not None or not self.probe("/readyz"):
            return False
        try:
            series = self.metrics()
        except OSError:
            return False
        return series["leader_election_master_status", (("name", "kubedistill-operator"),)] == 1

    def lines(self) -> list[dict[str, Any]]:
        """Return its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def launch(
    folder: Path,
    *,
    kubeconfig: Path,
    lease_namespace: str,
    name: str = "replica",
    options: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Replica:
    """Start one; the caller ends it."""
    port = free_port()
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps({"port": port, **settings}))  # YAML is a superset
    log = folder / f"{name}.log"
    arguments = ["--config", str(config), "--kubeconfig", str(kubeconfig), "--lease-namespace", lease_namespace]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "run", *arguments, *options],
            stdout=stream,
            stderr=stream,
            env=os.environ | dict(environment or {}),
        )
    return Replica(process, port, log)


@contextmanager
def replica(folder: Path, **options: Any) -> Iterator[Replica]:
    """Start one; whatever became of it, it is gone afterwards."""
    started = launch(folder, **options)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
