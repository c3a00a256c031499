"""Looks at the host itself: who asks, what systemd says, which dockerd runs, what the clock does."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import shutil
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.doctor.checks.ourselves import UNIT
from daemon.doctor.facts import Clock, Process, SocketFile, Unseen, User

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.doctor.facts import Seen
    from daemon.doctor.world import World

_UNITS: Final = ("docker.service", "docker.socket", UNIT)
_PROPERTIES: Final = (
    "Id",
    "LoadState",
    "ActiveState",
    "Result",
    "UnitFileState",
    "MainPID",
    "NeedDaemonReload",
    "ExecStart",
    "User",
    "SupplementaryGroups",
)
_PEER: Final = "3i"
_PATIENCE_SECONDS: Final = 3
_TIMEX_BYTES: Final = 512
"""More than `struct timex` takes anywhere; all zeros means that nothing is to be set."""
_UNSYNCHRONIZED: Final = 5
"""TIME_ERROR, which `adjtimex` gives while nothing keeps the clock right."""


def user() -> User:
    """Give who this process is."""
    uid = os.getuid()
    with suppress(KeyError):
        account = pwd.getpwuid(uid)
        ids = os.getgrouplist(account.pw_name, account.pw_gid)
        return User(uid=uid, name=account.pw_name, groups=_named(os.getgroups()), account_groups=_named(ids))
    return User(uid=uid, name=f"uid {uid}", groups=_named(os.getgroups()), account_groups=frozenset())


def _named(gids: list[int]) -> frozenset[str]:
    return frozenset(_group(gid) for gid in gids)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def owner(uid: int) -> str:
    """Name a user by the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def groups_of(name: str) -> frozenset[str] | None:
    """Give the groups that a user has by now; `None` if there is no such user."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    return _named(os.getgrouplist(name, account.pw_gid))


def socket_file(path: str) -> SocketFile | None:
    """Look at the engine's socket."""
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return SocketFile(owner(found.st_uid), _group(found.st_gid), found.st_mode & 0o7777)


def units(world: World) -> Mapping[str, Mapping[str, str]]:
    """Ask systemd about the units that matter. Raises OSError where it does not run this host."""
    if not (world.root / "run/systemd/system").is_dir():
        raise OSError("systemd does not run this host")
    shown = world.run(("systemctl", "show", *_UNITS, f"--property={','.join(_PROPERTIES)}"))
    found = (dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.split("\n\n"))
    return {unit["Id"]: unit for unit in found if "Id" in unit}


def dockerd_installed(environ: Mapping[str, str]) -> bool:
    """Tell whether there is a dockerd on this host; /usr/sbin is on no ordinary user's PATH, a snap's on nobody's."""
    places = "/usr/local/sbin", "/usr/sbin", "/sbin", "/snap/docker/current/bin"
    path = os.pathsep.join((environ.get("PATH", os.defpath), *places))
    return shutil.which("dockerd", path=path) is not None


def process(socket_path: str, seen: Seen[Mapping[str, Mapping[str, str]]], world: World) -> Process:
    """
    Give the dockerd that listens on our socket, else what systemd would start. OSError if neither can be seen.

    With socket activation it is systemd that listens, which knows the engine's process. An empty path asks nobody:
    a connection would start an engine that somebody stopped.
    """
    service = {} if isinstance(seen, Unseen) else seen.get("docker.service", {})
    for pid in (_listener(socket_path), int(service.get("MainPID", "0") or 0)):
        arguments = _arguments(pid, world.root)
        if arguments and Path(arguments[0]).name.startswith("dockerd"):
            return Process(pid=pid, arguments=arguments[1:])
    _, found, rest = service.get("ExecStart", "").partition("argv[]=")
    if found:
        return Process(arguments=tuple(rest.partition(" ;")[0].split()[1:]))
    raise OSError("no dockerd can be seen that listens there")


def _listener(path: str) -> int:
    """Give the process id of whoever listens on a unix socket; 0 where nobody does, or this user may not ask."""
    if not path:
        return 0
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(_PATIENCE_SECONDS)
        client.connect(path)
        said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_PEER))
        return int(struct.unpack(_PEER, said)[0])
    return 0


def _arguments(pid: int, root: Path) -> tuple[str, ...]:
    with suppress(OSError):  # it ended, or is not ours to see
        text = (root / "proc" / str(pid) / "cmdline").read_text(errors="replace") if pid else ""
        return tuple(text.split("\0")[:-1])
    return ()


def clock(world: World) -> Clock:
    """Look at the wall clock, and ask the kernel whether something keeps it right."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state < 0:
        return Clock(now=world.clock.now(), synchronized=Unseen(f"adjtimex: {os.strerror(ctypes.get_errno())}"))
    return Clock(now=world.clock.now(), synchronized=state != _UNSYNCHRONIZED)
