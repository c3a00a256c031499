"""Finds the cgroup of a container, v1 or v2, whatever driver made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collectors import cgroup_files as files
from collectors.reading import BlockDevices, GroupV1, GroupV2, Reading, read_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from collectors.cgroup_files import Flow
    from collectors.facts import Container

_NO_FLOWS: Mapping[str, Flow] = {}


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
        self._groups: dict[str, GroupV1 | GroupV2] = {}

    def read(self, container: Container) -> Reading | None:
        """Read everything of a container with a process; `None` when its cgroup is not there (any more)."""
        group = self._group(container)
        if group is None:
            return None
        reading = group.read(self._devices, self._network(container))
        if reading is None:
            self._groups.pop(container.id, None)
        return reading

    def oom_kills(self, container: Container) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life; `None` if unreadable."""
        group = self._group(container)
        return group.oom_kills() if group else None

    def retain(self, ids: Collection[str]) -> None:
        """Forget the cgroups of all containers but these."""
        for gone in [known for known in list(self._groups) if known not in ids]:
            self._groups.pop(gone, None)

    def _group(self, container: Container) -> GroupV1 | GroupV2 | None:
        group = self._groups.get(container.id)
        if group is None and container.pid:
            group = self._find(container)
            if group is not None:
                self._groups[container.id] = group
        return group

    def _find(self, container: Container) -> GroupV1 | GroupV2 | None:
        unified = (self._root / "cgroup.controllers").exists()
        # One controller stands for all of v1; the paths differ only where somebody moved the process by hand.
        place = self._root if unified else self._root / "memory"
        for path in self._candidates(container, "" if unified else "memory"):
            if (place / path).is_dir():
                return GroupV2(f"{place}/{path}") if unified else GroupV1(str(self._root), path)
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

    def _network(self, container: Container) -> Mapping[str, Flow]:
        if not container.pid or container.network_mode == "host" or container.network_mode.startswith("container:"):
            return _NO_FLOWS
        return files.interfaces(read_file(f"{self._proc}/{container.pid}/net/dev"))


def _expand(slice_name: str) -> str:
    """Give the path of a systemd slice: `a-b.slice` lies in `a.slice/a-b.slice`."""
    words = slice_name.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(words[: count + 1])}.slice" for count in range(len(words)))
