"""Measures a filesystem just before and just after a removal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collectors.disk import Filesystems, Place

if TYPE_CHECKING:
    from collectors.facts import Filesystem


class FreeSpace:
    """For one thread; a filesystem that hangs costs 2 s each time, and is asked again only after its answer."""

    def __init__(self) -> None:
        self._known: dict[str, Filesystems] = {}

    def of(self, mountpoint: str) -> Filesystem | None:
        """Give it as it is now, without its roles; `None` where it is not known or not read."""
        if not mountpoint:
            return None
        if mountpoint not in self._known:
            self._known[mountpoint] = Filesystems(partial(_only, mountpoint))
        measured = self._known[mountpoint].measure().filesystems
        return measured[0] if measured else None


def _only(mountpoint: str) -> list[Place]:
    return [Place("removal", Path(mountpoint))]
