"""The runtime for commands: ask it one question, and turn its last event into a message and an exit code."""

import contextlib
from collections.abc import Sequence
from typing import TypeVar

import typer

from kubedistill.cli.output import print_json, say
from kubedistill.cli.program import with_program_name
from kubedistill.contract.events import EstimateEvent, Event, FailedEvent, FinishedEvent, PreviewEvent, ValidatedEvent
from kubedistill.errors import EXIT_FAILED
from kubedistill.runtime_process import run_runtime

_Answer = TypeVar("_Answer", PreviewEvent, ValidatedEvent, EstimateEvent)


def ask_runtime(arguments: Sequence[str], *, answer: type[_Answer], as_json: bool) -> _Answer:
    """Run the runtime, and return its answer; if it fails, print why and exit with its code.

    Raises RuntimeDied if it gives neither.
    """
    with contextlib.closing(run_runtime(arguments, verbose=False)) as events:
        for event in events:
            if isinstance(event, FailedEvent):
                show_failure(event, as_json=as_json)
                raise typer.Exit(event.exit_code)
            if isinstance(event, answer):
                return event
    raise AssertionError("run_runtime raises RuntimeDied if there is no final event")


def show_failure(failed: FailedEvent, *, as_json: bool) -> None:
    """Print why a command failed: a line of JSON to standard output, or a message to standard error."""
    if as_json:
        print_json(failed.to_values())
    else:
        say(f"{failed.reason}: {with_program_name(failed.message)}", err=True)


def exit_code_of(last: Event | None) -> int:
    """Return the exit code of a run from its last event."""
    return last.exit_code if isinstance(last, FinishedEvent | FailedEvent) else EXIT_FAILED
