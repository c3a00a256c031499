"""Where a scrape is measured: an engine, and its containers' cgroups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CGROUPS = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Host:
    """`within` runs a program that finds `cgroups` where others find the kernel's."""

    docker_host: str
    within: Sequence[str] = ()
    cgroups: str = _CGROUPS

    def here(self, path: str) -> str:
        """Give the path at which this process finds what a program inside finds at `path`."""
        return self.cgroups + path.removeprefix(_CGROUPS) if path.startswith(_CGROUPS) else path
