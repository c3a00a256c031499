"""Says whether a TCP port is taken, and by which process as far as /proc lets us see it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC = Path("/proc")
_LISTENS = "0A"
_LOCAL, _STATE, _INODE = 1, 3, 9
"""Fields of a line of /proc/net/tcp."""


def holder(port: int, proc: Path = _PROC) -> str:
    """Give "pid 4711 (prometheus)", or nothing: other users' processes show their sockets to root alone."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    for process in proc.iterdir() if sockets else ():
        if process.name.isdecimal() and any(link in sockets for link in _links(process)):
            with suppress(OSError):  # it ended just now
                name = (process / "comm").read_text(errors="replace").strip()
                return f"pid {process.name} ({words.plain(name)})"
    return ""


def taken(port: int, proc: Path = _PROC) -> bool:
    """Tell whether anybody listens on the port, at any of this host's addresses."""
    return any(True for _ in _listening(port, proc))


def _listening(port: int, proc: Path) -> Iterator[str]:
    """Give the inodes of all sockets that listen on the port, whatever their address."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # a kernel without IPv6 has no such table
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[_STATE] == _LISTENS and int(fields[_LOCAL].rpartition(":")[2], 16) == port:
                    yield fields[_INODE]


def _links(process: Path) -> Iterator[str]:
    with suppress(OSError):  # not ours to see, or it ended just now
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())
