"""Finds the cgroup of a container, v1 or v2, whatever driver made it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from collectors import cgroup_files as files
from collectors.cgroup_groups import BlockDevices, GroupV1, GroupV2, read_file
from collectors.reading import MemoryMarks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from collectors.cgroup_files import Traffic
    from collectors.facts import Container
    from collectors.reading import Limits, Reading

_MOST_PROCESSES = 256
"""Of one container; who has more is no single culprit."""
LIMITS_EVERY = 20
"""
Limits are read anew at every so manieth reading, and when a container was inspected anew, as after `docker update`.

They are half of all files, and change by hand or never.
"""

_NO_TRAFFIC: Mapping[str, Traffic] = {}
_NO_MARKS = MemoryMarks()


class _Found:
    """A cgroup with the limits that were read last."""

    __slots__ = ("_countdown", "_limits", "_of", "group")

    def __init__(self, group: GroupV1 | GroupV2) -> None:
        self.group = group
        self._of: Container | None = None
        self._limits: Limits | None = None
        self._countdown = 0

    def limits(self, container: Container) -> Limits:
        self._countdown -= 1
        if self._limits is None or self._of is not container or self._countdown <= 0:
            # Not all containers at the same scrape: the first time counts from somewhere.
            first = self._limits is None
            self._countdown = hash(container.id) % LIMITS_EVERY + 1 if first else LIMITS_EVERY
            self._limits, self._of = self.group.limits(), container
        return self._limits


class CgroupReader:
    """
    Reads the cgroups of containers, about ten small files each.

    Neither the cgroup version nor the driver has to be told: a cgroup is found where it exists, at the path
    that the systemd or the cgroupfs driver gives it, else where `/proc/<pid>/cgroup` says. What was found is
    remembered until it vanishes. Safe to call from several threads.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        proc: Path = Path("/proc"),
        block_devices: Path = Path("/sys/dev/block"),
    ) -> None:
        self._root = root
        self._proc = str(proc)
        self._devices = BlockDevices(block_devices)
        self._found: dict[str, _Found] = {}

    def read(self, container: Container) -> Reading | None:
        """Read everything of a container with a process; `None` when its cgroup is not there (any more)."""
        found = self._find(container)
        if found is None:
            return None
        reading = found.group.read(self._devices, self._network(container), found.limits(container))
        if reading is None:
            self._found.pop(container.id, None)
        return reading

    def marks(self, container: Container) -> MemoryMarks | None:
        """Read what befell its memory; `None` when its cgroup is not there (any more)."""
        found = self._find(container)
        if found is None:
            return None
        marks = found.group.marks()
        if marks == _NO_MARKS and not found.group.exists():
            self._found.pop(container.id, None)
            return None
        return marks

    def working_set(self, container: Container) -> int | None:
        """Read just what `memory_working_set_bytes` of a whole reading is; `None` if that cannot be read."""
        found = self._find(container)
        if found is None:
            return None
        used = found.group.working_set()
        if used is None and not found.group.exists():
            self._found.pop(container.id, None)
        return used

    def oom_kills(self, container: Container) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life; `None` if unreadable."""
        found = self._find(container)
        return found.group.oom_kills() if found else None

    def largest_process(self, container: Container) -> tuple[str, int] | None:
        """Give the name and the resident bytes of its largest process; `None` if that cannot be read."""
        path = self.path(container)
        if not path:
            return None
        place = self._root if (self._root / "cgroup.controllers").exists() else self._root / "memory"
        pids = (read_file(f"{place}/{path}/cgroup.procs") or b"").split()[:_MOST_PROCESSES]
        sizes = (files.resident(read_file(f"{self._proc}/{pid.decode()}/status")) for pid in pids)
        return max((size for size in sizes if size), key=lambda each: each[1], default=None)

    def path(self, container: Container) -> str:
        """Give where its cgroup lies below the root, or an empty string while it is not found."""
        found = self._find(container)
        return found.group.path if found else ""

    def device(self, number: int) -> str:
        """Give a block device as `/dev/sda1`, or by its number if it has no name: a tmpfs, an overlay."""
        name = self._devices.name(f"{os.major(number)}:{os.minor(number)}")
        return name if ":" in name else f"/dev/{name}"

    def retain(self, ids: Collection[str]) -> None:
        """Forget the cgroups of all containers but these."""
        for gone in [known for known in list(self._found) if known not in ids]:
            self._found.pop(gone, None)

    def _find(self, container: Container) -> _Found | None:
        found = self._found.get(container.id)
        if found is None and container.pid:
            group = self._look_for(container)
            if group is not None:
                found = self._found[container.id] = _Found(group)
        return found

    def _look_for(self, container: Container) -> GroupV1 | GroupV2 | None:
        unified = (self._root / "cgroup.controllers").exists()
        # One controller stands for all of v1; the paths differ only where somebody moved the process by hand.
        place = self._root if unified else self._root / "memory"
        for path in self._candidates(container, "" if unified else "memory"):
            if (place / path).is_dir():
                return (GroupV2 if unified else GroupV1)(str(self._root), path)
        return None

    def _candidates(self, container: Container, controller: str) -> Iterator[str]:
        parent = container.cgroup_parent.strip("/")
        if ".." not in parent.split("/"):
            if parent.endswith(".slice") or not parent:
                yield f"{_expand(parent or 'system.slice')}/docker-{container.id}.scope"
            yield f"{parent or 'docker'}/{container.id}"
        text = read_file(f"{self._proc}/{container.pid}/cgroup")
        told = files.paths_of(text, container.id).get(controller)
        if told:
            yield told

    def _network(self, container: Container) -> Mapping[str, Traffic]:
        if not container.pid or container.network_mode == "host" or container.network_mode.startswith("container:"):
            return _NO_TRAFFIC
        return files.interfaces(read_file(f"{self._proc}/{container.pid}/net/dev"))


def _expand(slice_name: str) -> str:
    """Give the path of a systemd slice: `a-b.slice` lies in `a.slice/a-b.slice`."""
    words = slice_name.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(words[: count + 1])}.slice" for count in range(len(words)))
