"""The runtime as a child process: started here, heard line by line, never imported."""

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
    """Refuse to go on where the runtime is not installed."""
    if any(find_spec(name) is None for name in ("kubedistill_runtime", "ray", "vllm")):
        raise InvalidInput(
            "the runtime is not installed here, only the client",
            fix="Run `make setup` in a clone, or use the image kubedistill/runtime-cpu",
        )


def has_checks() -> bool:
    """Return whether the runtime's checks can run here; they need no Ray and no engine."""
    return all(find_spec(name) is not None for name in ("kubedistill_runtime", "transformers"))


def start_runtime(arguments: Sequence[str], *, verbose: bool = False, apart: bool = False) -> Process:
    """Start the runtime, bound to the thread that calls this; `apart` keeps the terminal's signals from it."""
    command = [sys.executable, "-m", "kubedistill_runtime", "--bound-to-parent", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        start_new_session=apart,
    )


def hear_runtime(process: Process) -> Generator[Event, None, None]:
    """Give the runtime's events one by one, until it has ended; raises RuntimeDied where there was no last word."""
    is_last = False
    assert process.stdout is not None
    for line in process.stdout:
        if event := read_event(line):
            is_last = isinstance(event, LastEvent)
            yield event
    code = process.wait()
    if not is_last:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        fix = "`kubedistill run --verbose` shows what it printed; a run goes on from what is published"
        raise RuntimeDied(f"the runtime {how}", fix=fix)


def run_runtime(arguments: Sequence[str], *, verbose: bool) -> Generator[Event, None, None]:
    """Start the runtime and give its events one by one; raises RuntimeDied where it ends without a last word.

    Close it (contextlib.closing) where events are left unread: that stops the runtime.
    """
    process = start_runtime(arguments, verbose=verbose)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield from hear_runtime(process)
    except KeyboardInterrupt:  # the terminal has sent it to the runtime too, which now stops its processes
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
    """The arguments that every use of the runtime shares; raises InvalidInput for a malformed NAME=DIR."""
    for entry in config_maps:
        if not all(entry.partition("=")):
            raise InvalidInput(
                f"{entry!r} is not NAME=DIR", at="--configmap", fix="Write --configmap prompts=./prompts"
            )
    pairs = [argument for entry in config_maps for argument in ("--configmap", entry)]
    return ["--manifest", str(manifest), "--store", store, *pairs]
