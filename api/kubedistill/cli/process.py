"""The runtime as a child process: started here, heard line by line, never imported."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kubedistill.errors import InvalidInput, StageFailed

Event = dict[str, Any]


class RuntimeDied(StageFailed):
    """The runtime ended without saying why."""

    reason = "RuntimeDied"


def check_runtime() -> None:
    """Refuse to go on where the runtime is not installed."""
    if any(find_spec(name) is None for name in ("kubedistill_runtime", "ray", "vllm")):
        raise InvalidInput(
            "the runtime is not installed here, only the client",
            fix="Run `make setup` in a clone, or use the image kubedistill/runtime-cpu",
        )


def run_runtime(arguments: Sequence[str], *, verbose: bool) -> Iterator[Event]:
    """Start the runtime and give its events one by one; raises RuntimeDied where it ends without a last word."""
    command = [sys.executable, "-m", "kubedistill_runtime", "--bound-to-parent", *arguments]
    stderr = None if verbose else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    last = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            event = _parse(line)
            last = event.get("event", last)
            yield event
        process.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the runtime too, which now stops its processes
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
        if process.poll() is None:
            process.terminate()
            process.wait()
    if last not in ("finished", "failed", "preview"):
        code = process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise RuntimeDied(f"the runtime {how}", fix="Start the same command again: it goes on from what is published")


def runtime_arguments(manifest: Path, *, store: str, config_maps: Sequence[str]) -> list[str]:
    """The arguments that every use of the runtime shares; raises InvalidInput for a malformed NAME=DIR."""
    for entry in config_maps:
        if "=" not in entry:
            raise InvalidInput(
                f"{entry!r} is not NAME=DIR", at="--configmap", fix="Write --configmap prompts=./prompts"
            )
    pairs = [argument for entry in config_maps for argument in ("--configmap", entry)]
    return ["--manifest", str(manifest), "--store", store, *pairs]


def _parse(line: str) -> Event:
    """One event; a line that is none (a library printing to standard output) is passed over."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
