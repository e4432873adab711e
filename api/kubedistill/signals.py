"""Default handling of signals, regardless of what a process inherited from its parent."""

import signal
from collections.abc import Callable
from types import FrameType

_ACTIONS: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGCHLD: signal.SIG_DFL,  # if it is ignored, the kernel discards the exit codes of children
}


def reset_inherited_signals() -> None:
    """Handle the signals that end a process, even if its parent ignored or blocked them.

    A process inherits both through exec: a shell without job control starts background jobs with SIGINT ignored, and
    some supervisors and CI runners ignore or block more signals. SIGHUP stays unchanged, because `nohup` ignores it on
    purpose. Call this only from the main thread, before other threads start.
    """
    for number, action in _ACTIONS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ACTIONS)
