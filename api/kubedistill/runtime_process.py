"""The runtime as a child process, which is never imported: start it, and read its events line by line."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from importlib.util import find_spec
from pathlib import Path

from kubedistill.contract.events import Event, LastEvent, read_event
from kubedistill.errors import InvalidInput, StageFailed

Process = subprocess.Popen[str]
_SECONDS_TO_STOP = 30


class RuntimeDied(StageFailed):
    """The runtime ended without saying why."""


def check_runtime() -> None:
    """Raise InvalidInput if the runtime is not installed."""
    if any(find_spec(name) is None for name in ("kubedistill_runtime", "ray", "vllm")):
        raise InvalidInput(
            "only the client is installed here, not the runtime",
            fix="Run `make setup` in a clone, or use the image kubedistill/runtime-cpu",
        )


def has_checks() -> bool:
    """Return whether the runtime's checks can run here; they need no Ray and no engine."""
    return all(find_spec(name) is not None for name in ("kubedistill_runtime", "transformers"))


def start_runtime(arguments: Sequence[str], *, verbose: bool = False, new_session: bool = False) -> Process:
    """Start the runtime, which stops with the calling thread; in a new session, no signals of the terminal reach it."""
    command = [sys.executable, "-m", "kubedistill_runtime", "--bound-to-parent", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        start_new_session=new_session,
    )


def read_events(process: Process) -> Generator[Event, None, None]:
    """Yield the events of the runtime until it exits; raises RuntimeDied if it exits without a final event."""
    is_last = False
    assert process.stdout is not None
    for line in process.stdout:
        if event := read_event(line):
            is_last = isinstance(event, LastEvent)
            yield event
    code = process.wait()
    if not is_last:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        fix = "See its output with `kubedistill run --verbose`; a new run reuses what is published"
        raise RuntimeDied(f"the runtime {how}", fix=fix)


def run_runtime(arguments: Sequence[str], *, verbose: bool) -> Generator[Event, None, None]:
    """Start the runtime, and yield its events; raises RuntimeDied if it exits without a final event.

    Close the generator (contextlib.closing) to stop the runtime before its last event.
    """
    process = start_runtime(arguments, verbose=verbose)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield from read_events(process)
    except KeyboardInterrupt:  # the terminal has also interrupted the runtime, which now stops its processes
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_STOP)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
        if process.poll() is None:
            process.terminate()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def runtime_arguments(manifest: Path, *, store: str, config_maps: Sequence[str]) -> list[str]:
    """Return the arguments that all uses of the runtime share; raises InvalidInput for a malformed NAME=DIR."""
    for entry in config_maps:
        if not all(entry.partition("=")):
            raise InvalidInput(
                f"{entry!r} is not NAME=DIR", at="--configmap", fix="Write --configmap prompts=./prompts"
            )
    pairs = [argument for entry in config_maps for argument in ("--configmap", entry)]
    return ["--manifest", str(manifest), "--store", store, *pairs]
