"""Sees to it that one daemon alone acts on an engine, however many watch it."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.web.exchange import Peer
from policies import words

if TYPE_CHECKING:
    from collectors.engine_http import Endpoint

log = logging.getLogger(__name__)

_WAITING = 8
_PATIENCE = 1.0
_NOT_YET = "it has only just been allowed to: try again in a few seconds"
"""In observe mode nobody reads this: the mode itself is told then."""


class ActingLock:
    """
    An abstract Unix socket that one process can hold; the kernel frees it when that process ends in any way.

    It is named by the device and inode of the engine's socket, so two paths to one engine are one name, or by
    the address of a remote engine. `update` is for one thread; everything else may be read from any.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._name = ""
        self._socket: socket.socket | None = None
        self.why_not = _NOT_YET
        """Why this daemon does not act, in words; empty while it may."""

    @property
    def held(self) -> bool:
        """True while this daemon is the one that acts."""
        return self._socket is not None

    def update(self, *, wanted: bool) -> None:
        """
        Take it, keep it or let it go.

        After a restart of the engine its socket is another one, and the name with it.
        """
        if not wanted:
            self.close()
            self.why_not = _NOT_YET
            return
        self._send_askers_away()
        name = self._wanted_name()
        if not name:
            if not self.held:
                self._refuse(f"{self._endpoint.socket_path} is not there")
        elif name != self._name or not self.held:
            self._take(name)

    def close(self) -> None:
        """Let it go."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._name = None, ""

    def _wanted_name(self) -> str:
        """Give the name; empty while the engine has no socket."""
        if not self._endpoint.socket_path:
            return f"\0shipkeeper/acting/{self._endpoint.host}"
        try:
            found = Path(self._endpoint.socket_path).stat()
        except OSError:
            return ""
        return f"\0shipkeeper/acting/{found.st_dev}:{found.st_ino}"

    def _take(self, name: str) -> None:
        try:
            sock = _bound(name)
        except OSError as error:
            self.close()
            taken = error.errno == errno.EADDRINUSE
            self._refuse(f"another shipkeeper{_holder(name)} acts on this engine" if taken else words.fault(error))
            return
        self.close()
        self._socket, self._name, self.why_not = sock, name, ""
        log.info("this daemon is the one that acts on %s", self._endpoint.host)

    def _refuse(self, why: str) -> None:
        if why != self.why_not:
            log.warning("this daemon only observes: %s", why)
        self.why_not = why

    def _send_askers_away(self) -> None:
        """Take the connections of those who asked for our pid off the queue, so that the next one can ask."""
        if self._socket is not None:
            with suppress(OSError):  # there are no more, or no descriptor is free for one: they can wait
                while True:
                    self._socket.accept()[0].close()


def _bound(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(name)
        # Whoever finds the name taken connects, and the kernel tells them who we are.
        sock.listen(_WAITING)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock


def _holder(name: str) -> str:
    """Give the pid of the process that holds the name, in brackets; empty where it cannot be had."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_PATIENCE)
            asking.connect(name)
            pid = Peer.of(asking).pid
    except OSError:
        return ""
    return f" (pid {pid})" if pid else ""
