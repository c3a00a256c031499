"""The socket on which a service tells systemd how it is."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class NotifySocket:
    """A context manager that listens at `path`, and remembers every line it hears."""

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
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    @property
    def heard(self) -> tuple[str, ...]:
        """The lines so far, in order."""
        return tuple(self._heard)

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self._heard += message.decode().split("\n")
