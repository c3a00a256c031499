"""A tap on an engine's socket: passes on what it allows, and writes down each request's method and path."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_HEAD_END = b"\r\n\r\n"
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\nConnection: close\r\n\r\nForbidden\n"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that went through: its method and its path with the query."""

    method: str
    path: str


class SocketTap:
    """
    A context manager that listens on `path` and connects each client through to `target`.

    The requests that it writes down are parsed from the bytes themselves, so a client cannot send one past it.
    `allows` makes a socket proxy of it: what it is not true of is answered 403, and noted in `refused`.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self._target = target
        self.path = path
        self.docker_host = f"unix://{path}"
        self.allows: Callable[[Asked], bool] = lambda _: True
        self.refused: list[Asked] = []
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._open: set[socket.socket] = set()
        self._removing: set[socket.socket] = set()
        self._answered = threading.Event()
        self._answered.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._accept, name="tap", daemon=True)

    def __enter__(self) -> Self:
        self._listening.bind(str(self.path))
        self._listening.listen(64)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        self.cut()

    @property
    def asked(self) -> list[Asked]:
        """Every request so far."""
        with self._lock:
            return list(self._asked)

    @property
    def non_get(self) -> list[Asked]:
        """The requests that may change something."""
        return [one for one in self.asked if one.method not in {"GET", "HEAD"}]

    def client(self) -> socket.socket:
        """Give a connection to the engine through the tap."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        return client

    def forget(self) -> None:
        """Strike out what was written down so far but for the GETs."""
        with self._lock:
            self._asked = [one for one in self._asked if one.method in {"GET", "HEAD"}]

    def stall_removals(self) -> None:
        """Hold back the answers to DELETE from now on, as an engine does that takes minutes over one."""
        self._answered.clear()

    def release(self) -> None:
        """Let those answers through."""
        self._answered.set()

    def cut(self) -> None:
        """End all connections, as a proxy does that has had enough."""
        with self._lock:
            for open_socket in self._open:
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            try:
                engine.connect(str(self._target))
            except OSError:
                # Nobody listens behind the tap: the client finds its connection closed.
                client.close()
                engine.close()
                continue
            with self._lock:
                self._open |= {client, engine}
            threading.Thread(target=self._pass_requests, args=(client, engine), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(engine, client), daemon=True).start()

    def _pass_requests(self, client: socket.socket, engine: socket.socket) -> None:
        pending = b""
        with suppress(OSError):
            while data := client.recv(65536):
                pending, noted = self._note(pending + data, client)
                if refused := [one for one in noted if not self.allows(one)]:
                    self.refused += refused
                    client.sendall(_FORBIDDEN)
                    break
                engine.sendall(data)
        self._end(client, engine)

    def _pass_answers(self, engine: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := engine.recv(65536):
                if client in self._removing:
                    self._answered.wait()
                client.sendall(data)
        self._end(engine, client)

    def _note(self, pending: bytes, client: socket.socket) -> tuple[bytes, list[Asked]]:
        """Write down every request whose head is complete; give what is left of the next one, and those."""
        noted = []
        while (end := pending.find(_HEAD_END)) >= 0:
            head = pending[:end]
            method, path = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
            noted.append(Asked(method, path))
            with self._lock:
                self._asked.append(noted[-1])
                if method == "DELETE":
                    self._removing.add(client)
            length = _LENGTH.search(head)
            pending = pending[end + len(_HEAD_END) + (int(length.group(1)) if length else 0) :]
        return pending, noted

    def _end(self, one: socket.socket, other: socket.socket) -> None:
        """Close this direction; the second of the two threads to come here frees the sockets."""
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if one in self._open and other in self._open:
                self._open.discard(one)
                return
            self._open.discard(one)
            self._open.discard(other)
            self._removing -= {one, other}
        one.close()
        other.close()
