"""One HTTP exchange as values: the request that came, the response to send."""

from __future__ import annotations

import pwd
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

PLAIN_TEXT = "text/plain; charset=utf-8"

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel names it."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> Peer:
        """Ask the kernel who is at the other end of a connected Unix socket."""
        return cls(*_CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))

    @property
    def user(self) -> str:
        """The name of its user, or the number where this system knows no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:  # a user that only its container knows
            return f"uid {self.uid}"

    @property
    def words(self) -> str:
        """The user by name and number: `ada (uid 1000)`."""
        return self.user if self.user == f"uid {self.uid}" else f"{self.user} (uid {self.uid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request, read in full.

    `path` is decoded and without the query; `headers.get` ignores case. `peer` is `None` over TCP.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back; the length and `Connection: close` are added."""

    status: int
    body: bytes
    content_type: str = PLAIN_TEXT
    headers: tuple[tuple[str, str], ...] = ()


Answer: TypeAlias = Callable[[Request], Response]
