"""The runtime as a child process: its events come one by one, and the end says how it died."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill import runtime_process
from kubedistill.contract import CONTRACT
from kubedistill.contract.events import Event, FailedEvent, NoteEvent
from kubedistill.errors import InvalidInput
from kubedistill.runtime_process import RuntimeDied, check_runtime, run_runtime, runtime_arguments
from support.messages import CheckMessage

SAY = "def say(**event): print(json.dumps(event), flush=True)\ndef note(text): say(event='note', message=str(text))\n"
LAST_EVENTS = {
    "finished": {"exitCode": 0, "report": {"json": "a", "md": "b", "html": "c"}, "seconds": 1.0, "exports": []},
    "failed": {"reason": "LowYield", "message": "too few", "exitCode": 2},
    "preview": {"records": [], "asked": {}, "notes": [], "objective": "Sequence", "objectiveReason": "as it is"},
    "estimate": {"estimate": {"stages": [], "diskBytes": 0, "downloadBytes": 0, "assumptions": []}},
    "validated": {"problems": [], "notes": [], "unchecked": []},
}
FINISH = f"say(event='finished', **{LAST_EVENTS['finished']})\n"


def events_of(*arguments: str) -> list[Event]:
    return list(run_runtime(arguments, verbose=False))


@pytest.mark.parametrize("name", ["kubedistill_runtime", "ray", "vllm"])
def test_missing_runtime_is_refused_with_the_way_to_get_it(
    name: str, monkeypatch: pytest.MonkeyPatch, check_message: CheckMessage
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput) as caught:
        check_runtime()
    check_message(caught.value)
    assert "make setup" in caught.value.fix


def test_runtime_is_started_with_the_arguments(runtime: Callable[[str], None]) -> None:
    runtime(SAY + "note(sys.argv[1:])\n" + FINISH)
    event, _ = events_of("--manifest", "job.yaml")
    assert event == NoteEvent(message=str(["--bound-to-parent", "--manifest", "job.yaml"]))


def test_events_come_while_the_runtime_works(runtime: Callable[[str], None]) -> None:
    runtime(SAY + "note(1)\nsys.stdin.close()\ntime.sleep(60)")
    with contextlib.closing(run_runtime([], verbose=False)) as events:
        assert next(events) == NoteEvent(message="1")


GARBAGE = {
    "a sentence": b"Loading weights: 100%",
    "an empty line": b"",
    "a list": b"[1, 2]",
    "another object": b'{"level": "INFO"}',
    "an event that is not a string": b'{"event": 7}',
    "half an event": b'{"event": "fini',
    "an event of another runtime": b'{"event": "mood", "good": true}',
    "an event without its fields": b'{"event": "finished"}',
    "bytes": b"\xff\xfe\x00",
    "deep brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_passed_over(case: str, runtime: Callable[[str], None]) -> None:
    line = f"sys.stdout.buffer.write({GARBAGE[case]!r} + b'\\n')\nsys.stdout.flush()\n"
    runtime(f"{SAY}note(1)\n{line}{FINISH}{line}")
    assert [event.event for event in events_of()] == ["note", "finished"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_death_by_a_signal_names_the_signal(
    number: signal.Signals, runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime(f"{SAY}note(1)\nos.kill(os.getpid(), {int(number)})")
    with pytest.raises(RuntimeDied) as caught:
        events_of()
    check_message(caught.value, number.name)


def test_leaving_without_a_word_names_the_exit_code(
    runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime("sys.exit(7)")
    with pytest.raises(RuntimeDied) as caught:
        events_of()
    check_message(caught.value, "7")
    assert caught.value.exit_code == 1
    assert "--verbose" in caught.value.fix


@pytest.mark.parametrize("last", LAST_EVENTS)
def test_last_word_counts_whatever_the_exit_code(last: str, runtime: Callable[[str], None]) -> None:
    runtime(f"{SAY}say(event={last!r}, **{LAST_EVENTS[last]})\nsys.exit(3)")
    (event,) = events_of()
    assert event.to_values() == {"contract": CONTRACT, "event": last, **LAST_EVENTS[last]}


@pytest.mark.parametrize(("verbose", "expected"), [(True, "weights\n"), (False, "")])
def test_what_libraries_print_is_shown_on_demand(
    verbose: bool, expected: str, runtime: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    runtime(SAY + "sys.stderr.write('weights\\n')\n" + FINISH)
    list(run_runtime([], verbose=verbose))
    assert capfd.readouterr().err == expected


SLEEPER = SAY + "note(os.getpid())\ntime.sleep(60)"


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_closing_stops_the_runtime(runtime: Callable[[str], None]) -> None:
    runtime(SLEEPER)
    with contextlib.closing(run_runtime([], verbose=False)) as events:
        pid = int(next(events).message)
        assert is_alive(pid)
    assert not is_alive(pid)


def test_interrupted_runtime_gets_time_to_stop_and_then_a_push(
    runtime: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_process, "_SECONDS_TO_STOP", 0.1)
    runtime(SLEEPER)
    events = run_runtime([], verbose=False)
    pid, started = int(next(events).message), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    assert 0.1 <= time.monotonic() - started < 10
    assert not is_alive(pid)


def test_sigterm_is_handed_on_and_its_handler_given_back(
    runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    runtime(SLEEPER)
    events = run_runtime([], verbose=False)
    next(events)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(RuntimeDied) as caught:
        next(events)
    check_message(caught.value, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before


def test_arguments_are_those_of_the_runtime() -> None:
    arguments = runtime_arguments(Path("a b.yaml"), store="s", config_maps=["a=x", "b=y=z"])
    assert arguments == ["--manifest", "a b.yaml", "--store", "s", "--configmap", "a=x", "--configmap", "b=y=z"]


@pytest.mark.parametrize("entry", ["prompts", "=folder", "prompts=", "="])
def test_config_map_without_name_or_folder_is_refused(entry: str, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidInput) as caught:
        runtime_arguments(Path("job.yaml"), store="s", config_maps=[entry])
    check_message(caught.value, "NAME", "DIR")


def test_events_are_json_for_every_command() -> None:
    error = InvalidInput("it broke", at="a", fix="Fix it")
    assert json.loads(json.dumps(FailedEvent.of(error).to_values())) == {
        "contract": CONTRACT,
        "event": "failed",
        "reason": "InvalidInput",
        "message": "a: it broke. Fix it",
        "exitCode": 2,
    }
