"""Tells which container a process of this machine belongs to, by the path of its cgroup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from collectors.cgroup_groups import read_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_ID: Final = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?=\.scope|/|$| \(deleted\)$)")
_TELLING: Final = ("memory", "pids", "")
"""By which controllers' line the owner is told, the best one first; cgroup v2 names none."""
_INITIAL_NAMESPACE: Final = "pid:[4026531836]"
_AFTER_STARTTIME: Final = 19
"""The start time is field 22 of /proc/PID/stat; the name, field 2, is cut off with what stands before it."""

Named: TypeAlias = tuple[str, ...]
"""The container ids that a process' cgroup names, the outermost first; none for a process of the host."""


def named_containers(cgroup: str) -> Named:
    """
    Give the ids in the text of /proc/PID/cgroup, the outermost first.

    A container in a container bears both ids: the first is that of the host's engine. The line of the memory
    controller is asked first, for a process may have left other cgroups.
    """
    by_controller: dict[str, Named] = {}
    others: Named = ()
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        ids = tuple(dict.fromkeys(_ID.findall(path)))
        if not ids:
            continue
        for controller in controllers.split(","):
            by_controller.setdefault(controller, ids)
        others = others or ids
    return next((by_controller[name] for name in _TELLING if name in by_controller), others)


def owner(named: Named, known: Collection[str]) -> str:
    """Give the container of the engine that holds the process; empty for a process of the host."""
    return next((id_ for id_ in named if id_ in known), "")


class ProcessOwners:
    """Reads /proc, and remembers of each process what its cgroup named: by PID and start time, for PIDs come again."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._known: dict[int, tuple[bytes, Named]] = {}

    def attributable(self) -> bool:
        """
        Tell whether the PIDs of the driver are ours, and their processes shown to us.

        Only in the machine's own PID namespace they always are; and `hidepid` would let those of others look gone.
        """
        try:
            namespace = str((self._proc / "self/ns/pid").readlink())
        except OSError:
            return False
        return namespace == _INITIAL_NAMESPACE and read_file(f"{self._proc}/1/cgroup") is not None

    def read(self, pids: Iterable[int]) -> Mapping[int, Named]:
        """Give what the cgroups of these processes name; one that is gone is left out. The others are forgotten."""
        found: dict[int, tuple[bytes, Named]] = {}
        for pid in pids:
            started = self._started(pid)
            if started is None:
                continue
            known = self._known.get(pid)
            # A process of the host is read anew: an engine may be about to put it into a container.
            if known is not None and known[0] == started and known[1]:
                found[pid] = known
            elif (text := read_file(f"{self._proc}/{pid}/cgroup")) is not None:
                found[pid] = started, named_containers(text.decode(errors="replace"))
        self._known = found
        return {pid: named for pid, (_, named) in found.items()}

    def _started(self, pid: int) -> bytes | None:
        """Give the start time of a process as the kernel writes it; `None` if there is none."""
        stat = read_file(f"{self._proc}/{pid}/stat")
        # The name may hold spaces and brackets, so fields are counted from its end.
        fields = stat.rpartition(b")")[2].split() if stat else []
        return fields[_AFTER_STARTTIME] if len(fields) > _AFTER_STARTTIME else None
