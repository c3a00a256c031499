"""What systemd is told: ready, stopping, a status line, and that the watchdog may stay calm."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.crew import Crew

log = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=3)
"""For which a systemd that does not listen may hold up the caller: once, and not again before it has listened."""
_OFTEN = timedelta(seconds=20)
"""The watchdog is fed at least so often, however long systemd would wait: a late heartbeat is soon in the log."""


class Notifier:
    """Sends states to the socket that systemd names in `$NOTIFY_SOCKET`; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str], patience: timedelta = _PATIENCE) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of Linux's abstract addresses.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._patience = patience.total_seconds()
        self._deaf = False
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that start-up or a reload is complete, with one line for `systemctl status`."""
        self._status = status
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Say one line for `systemctl status`; the same line again costs nothing."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={_one_line(text)}")

    def reloading(self, monotonic: float) -> None:
        """Say that a reload has begun, at these monotonic seconds; `ready` says that it is over."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(monotonic * 1_000_000)}")

    def stopping(self) -> None:
        """Say that shutdown has begun."""
        self._send("STOPPING=1")

    def feed_watchdog(self) -> None:
        """Say that the daemon works; when this stays out for `WatchdogSec=`, systemd kills and restarts it."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0 if self._deaf else self._patience)
                sock.connect(self._address)
                sock.send("\n".join(lines).encode())
                self._deaf = False
        except OSError as error:
            self._deaf = isinstance(error, TimeoutError | BlockingIOError)
            log.warning("cannot tell systemd %s: %s", lines[0], error)


def watchdog_interval(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Give how often systemd wants to hear from process `pid`, half its timeout; None when it does not."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return timedelta(microseconds=int(microseconds)) / 2 if microseconds.isdecimal() and int(microseconds) else None


class Watchdog:
    """A thread that feeds systemd's watchdog while `stale` names no part, and says so in the log when it stops."""

    def __init__(self, interval: timedelta, notifier: Notifier, stale: Callable[[], Sequence[str]], crew: Crew) -> None:
        self._interval = min(interval, _OFTEN).total_seconds()
        self._notifier = notifier
        self._stale = stale
        self._worker = crew.worker("watchdog", self._run)

    def start(self) -> None:
        """Feed at once, then at every interval."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()

    def close(self) -> None:
        """Stop feeding."""
        self.stop()
        self._worker.join(_PATIENCE)

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            self._worker.beat()
            if stale := self._stale():
                log.error("the watchdog is not fed: no sign of life from %s", ", ".join(stale))
            else:
                self._notifier.feed_watchdog()
            self._worker.stopping.wait(self._interval)


def _one_line(text: str) -> str:
    """Keep text from becoming a further assignment."""
    return " ".join(text.split())
