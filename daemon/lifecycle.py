"""When the daemon stops: signals, awaited as values in the main thread, and an end that nothing can hold up."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

log = logging.getLogger(__name__)

_LAST_WORDS_SECONDS = 0.5
_AWAITED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def block_signals() -> None:
    """
    Hold back SIGTERM, SIGINT and SIGHUP; call it before the first thread starts.

    Threads inherit the mask, so no handler ever runs inside any of them and none is interrupted half-way. A child
    process inherits it too, until it sets its own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)


def await_signal(patience: timedelta) -> signal.Signals | None:
    """Wait until one of the blocked signals is sent, and give it; None when none came in time."""
    came = signal.sigtimedwait(_AWAITED, patience.total_seconds())
    # Of a process that was stopped until its patience was over (SIGSTOP, a frozen cgroup, a debugger) CPython gives
    # a record that nobody filled in.
    return signal.Signals(came.si_signo) if came and came.si_signo in _AWAITED else None


def end_within(patience: timedelta, hanging: Callable[[], Sequence[str]], exit_code: int) -> None:
    """
    Make sure that this process ends: after `patience` name in the log what hangs, and end at once.

    No clean-up is done then. The log may be what hangs: so it is not waited for.
    """

    def name_them() -> None:
        names = ", ".join(hanging()) or "the end of the process"
        log.critical("the daemon did not end in time and is cut off; what hangs: %s", names)

    def end() -> None:
        wait = threading.Event().wait  # it is never set: the process ends first, or this ends it
        wait(patience.total_seconds())
        threading.Thread(target=name_them, name="last-words", daemon=True).start()
        wait(_LAST_WORDS_SECONDS)
        os._exit(exit_code)

    threading.Thread(target=end, name="last-resort", daemon=True).start()
