"""The socket on which a service tells systemd how it is."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


def fill(listener: socket.socket) -> None:
    """Send to a socket that nobody reads until the kernel keeps no more for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling, suppress(BlockingIOError):
        filling.settimeout(0)
        while True:
            filling.sendto(b"noise", listener.getsockname())


class NotifySocket:
    """A context manager that listens at `path`, and remembers every line it hears until it goes deaf."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._listen, name="notify-socket")

    def __enter__(self) -> Self:
        self._socket.bind(str(self.path))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._socket.close()

    def deafen(self) -> None:
        """Listen no more, as a service manager that hangs: whoever tells it something has to wait."""
        self._stop()
        fill(self._socket)

    @property
    def heard(self) -> tuple[str, ...]:
        """The lines so far, in order."""
        return tuple(self._heard)

    def _stop(self) -> None:
        if self._thread.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", str(self.path))
            self._thread.join()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self._heard += message.decode().split("\n")
