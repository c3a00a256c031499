"""What systemd is told: ready, stopping, a status line, and that the watchdog may stay calm."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds for which a systemd that does not listen may hold up the caller."""


class Notifier:
    """Sends states to the socket that systemd names in `$NOTIFY_SOCKET`; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of Linux's abstract addresses.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Say that start-up is complete, with one line for `systemctl status`."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Say one line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

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
                sock.settimeout(_PATIENCE)
                sock.connect(self._address)
                sock.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("cannot tell systemd %s: %s", lines[0], error)


def watchdog_interval(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Give how often systemd wants to hear from process `pid`, half its timeout; None when it does not."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return timedelta(microseconds=int(microseconds)) / 2 if microseconds.isdecimal() and int(microseconds) else None


class Watchdog:
    """A thread that feeds systemd's watchdog while `stale` names no part, and says so in the log when it stops."""

    def __init__(self, interval: timedelta, notifier: Notifier, stale: Callable[[], Sequence[str]]) -> None:
        self._interval = interval.total_seconds()
        self._notifier = notifier
        self._stale = stale
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Feed at once, then at every interval."""
        self._thread.start()

    def close(self) -> None:
        """Stop feeding."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            if stale := self._stale():
                log.error("the watchdog is not fed: no sign of life from %s", ", ".join(stale))
            else:
                self._notifier.feed_watchdog()
            if self._closed.wait(self._interval):
                return


def _one_line(text: str) -> str:
    """Keep text from becoming a further assignment."""
    return " ".join(text.split())
