"""Space and inodes of every distinct filesystem that matters, with their metric families."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.facts import Filesystem
from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measurement:
    """What could be measured, and by role in words why something could not."""

    filesystems: tuple[Filesystem, ...]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Look:
    """What one path showed of the filesystem that it lies on."""

    device: int
    mountpoint: str
    space: os.statvfs_result


class _Probe:
    """One look at a path, in a thread of its own: statvfs of a dead network filesystem or disk never returns."""

    def __init__(self, role: str, path: Path) -> None:
        self.path = path
        self.started = time.monotonic()
        self.look: _Look | None = None
        self.error = ""
        self.missing = False
        self._thread = threading.Thread(target=self._run, name=f"statvfs-{role}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            path = self.path.resolve(strict=True)
            self.look = _Look(path.stat().st_dev, _mountpoint(path), os.statvfs(path))
        except OSError as error:
            self.missing = isinstance(error, FileNotFoundError)
            self.error = f"{self.path}: {error.strerror}"

    def finished(self, deadline: float) -> bool:
        """Wait until the monotonic time `deadline` at most."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        return not self._thread.is_alive()


class Filesystems:
    """
    The filesystems under the paths handed in, by role (`data-root`, `os-root`, …).

    Paths on one filesystem are one entry with all their roles. A path that hangs costs `patience` seconds in
    all and its own entry; it is asked again only after its first answer. A path in one of the `optional` roles
    may be missing.
    """

    def __init__(
        self, paths: Callable[[], Mapping[str, Path]], patience: float = 2.0, optional: frozenset[str] = frozenset()
    ) -> None:
        self._paths = paths
        self._optional = optional
        self._patience = patience
        self._asked: dict[str, _Probe] = {}

    def measure(self) -> Measurement:
        """Look at every path now."""
        paths = self._paths()
        probes = {role: _Probe(role, path) for role, path in paths.items() if role not in self._asked}
        for probe in probes.values():
            probe.start()
        self._asked |= probes
        deadline = time.monotonic() + self._patience
        errors: dict[str, str] = {}
        looks: dict[str, _Look] = {}
        for role in paths:
            probe = self._asked[role]
            if not probe.finished(deadline):
                waited = time.monotonic() - probe.started
                errors[role] = f"{probe.path}: the filesystem has not answered for {waited:.0f} s"
                continue
            del self._asked[role]
            if probe.look:
                looks[role] = probe.look
            elif not (probe.missing and role in self._optional):
                errors[role] = probe.error
        return Measurement(tuple(_merged(looks)), errors)


def _merged(looks: Mapping[str, _Look]) -> Iterator[Filesystem]:
    for device in dict.fromkeys(look.device for look in looks.values()):
        roles = tuple(role for role, look in looks.items() if look.device == device)
        yield _filesystem(looks[roles[0]], roles)


def _filesystem(look: _Look, roles: tuple[str, ...]) -> Filesystem:
    space = look.space
    return Filesystem(
        mountpoint=look.mountpoint,
        device=look.device,
        roles=roles,
        size_bytes=space.f_blocks * space.f_frsize,
        used_bytes=(space.f_blocks - space.f_bfree) * space.f_frsize,
        available_bytes=space.f_bavail * space.f_frsize,
        inodes=space.f_files or None,
        inodes_free=space.f_ffree if space.f_files else None,
    )


def _mountpoint(path: Path) -> str:
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return os.fsencode(path).decode(errors="replace")  # a path can hold bytes that are no text


def filesystem_families(filesystems: Sequence[Filesystem], errors: Mapping[str, str]) -> Iterator[Family]:
    """Give size, use and inodes of each filesystem, and by role whether it could be measured."""
    rows = [
        (label_block(mountpoint=filesystem.mountpoint, roles=",".join(filesystem.roles)), filesystem)
        for filesystem in filesystems
    ]
    prefix = "shipkeeper_filesystem_"
    measured = [role for filesystem in filesystems for role in filesystem.roles]
    yield Family(
        f"{prefix}up",
        "gauge",
        "1 if the filesystem in this role could be measured.",
        [(label_block(role=role), role not in errors) for role in sorted({*measured, *errors})],
    )
    yield Family(
        f"{prefix}size_bytes", "gauge", "Size of the filesystem.", [(block, each.size_bytes) for block, each in rows]
    )
    yield Family(
        f"{prefix}used_bytes",
        "gauge",
        "Space in use, the reserve of root not counted.",
        [(block, each.used_bytes) for block, each in rows],
    )
    yield Family(
        f"{prefix}available_bytes",
        "gauge",
        "Space that an unprivileged writer may still use.",
        [(block, each.available_bytes) for block, each in rows],
    )
    yield Family(
        f"{prefix}inodes",
        "gauge",
        "Inodes; absent where the filesystem does not count them.",
        [(block, each.inodes) for block, each in rows if each.inodes is not None],
    )
    yield Family(
        f"{prefix}inodes_free",
        "gauge",
        "Inodes that are free.",
        [(block, each.inodes_free) for block, each in rows if each.inodes_free is not None],
    )
