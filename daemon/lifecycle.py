"""When the daemon stops: signals, awaited as values in the main thread."""

from __future__ import annotations

import signal

_AWAITED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def block_signals() -> None:
    """
    Hold back SIGTERM, SIGINT and SIGHUP; call it before the first thread starts.

    Threads inherit the mask, so no handler ever runs inside any of them and none is interrupted half-way. A child
    process inherits it too, until it sets its own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)


def await_signal() -> signal.Signals:
    """Wait until one of the blocked signals is sent, and give it."""
    return signal.Signals(signal.sigwait(_AWAITED))
