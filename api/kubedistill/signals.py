"""Signals as a process of ours needs them, whatever the process that started it passed down."""

import signal
from collections.abc import Callable
from types import FrameType

_ACTIONS: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGCHLD: signal.SIG_DFL,  # where it is ignored, the kernel forgets how a child ended
}


def reset_inherited_signals() -> None:
    """Answer the signals that end a process, also where its parent ignored or blocked them.

    Both pass through exec: a shell without job control starts background jobs with SIGINT ignored, and some
    supervisors and CI runners ignore or block more. SIGHUP stays as it is, since `nohup` ignores it on purpose.
    Only the main thread may call this, before it starts other threads.
    """
    for number, action in _ACTIONS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ACTIONS)
