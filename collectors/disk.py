"""Space and inodes of every distinct filesystem that matters, whatever one of them does."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.facts import Filesystem
from collectors.mounts import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


VOLUME = "volume"
"""The role of a volume that has a filesystem to itself; on one that matters anyhow it is not worth a word."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    A path whose filesystem matters, and the role in which it does; several places may share a role.

    Of `path` and `or_else` the first that exists counts. Where none does that is an error, unless it is `optional`.
    One that we may not look at is an error, unless `if_forbidden` names another to look at instead.
    """

    role: str
    path: Path
    or_else: tuple[Path, ...] = ()
    optional: bool = False
    if_forbidden: Path | None = None


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

    def __init__(self, place: Place) -> None:
        self.place = place
        self.started = time.monotonic()
        self.look: _Look | None = None
        self.error = ""
        self._thread = threading.Thread(target=self._run, name=f"statvfs-{place.role}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        # Also to find out which path is there may take for ever.
        for path in (self.place.path, *self.place.or_else):
            try:
                self.look = _look(path)
            except (FileNotFoundError, NotADirectoryError) as error:
                self.error = self.error or f"{path}: {error.strerror}"
                continue
            except PermissionError as error:
                self.error = f"{path}: {error.strerror}"
                if self.place.if_forbidden is not None:
                    with suppress(OSError):  # what was forbidden first is the better reason
                        self.look = _look(self.place.if_forbidden)
            except OSError as error:
                self.error = f"{path}: {error.strerror}"
            except RuntimeError:  # how Python before 3.13 says it
                self.error = f"{path}: {os.strerror(errno.ELOOP)}"
            return
        if self.place.optional:
            self.error = ""

    def finished(self, deadline: float) -> bool:
        """Wait until the monotonic time `deadline` at most."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        return not self._thread.is_alive()


class Filesystems:
    """
    The filesystems under the places handed in.

    Places on one filesystem are one entry with all their roles. A place that hangs costs `patience` seconds in
    all and its own entry; it is asked again only after its first answer.
    """

    def __init__(self, places: Callable[[], Sequence[Place]], patience: float = 2.0) -> None:
        self._places = places
        self._patience = patience
        self._asked: dict[Place, _Probe] = {}

    def measure(self) -> Measurement:
        """Look at every place now."""
        places = self._places()
        probes = {place: _Probe(place) for place in places if place not in self._asked}
        for probe in probes.values():
            probe.start()
        self._asked |= probes
        deadline = time.monotonic() + self._patience
        errors: dict[str, str] = {}
        looks: dict[Place, _Look] = {}
        for place in places:
            probe = self._asked[place]
            if not probe.finished(deadline):
                waited = time.monotonic() - probe.started
                errors[place.role] = f"{place.path}: the filesystem has not answered for {waited:.0f} s"
                continue
            del self._asked[place]
            if probe.look:
                looks[place] = probe.look
            elif probe.error:
                errors[place.role] = probe.error
        read_only = {mount.point: mount.read_only for mount in mounts()}
        return Measurement(tuple(_merged(looks, read_only)), errors)


def _look(path: Path) -> _Look:
    found = path.resolve(strict=True)
    return _Look(found.stat().st_dev, _mountpoint(found), os.statvfs(found))


def _merged(looks: Mapping[Place, _Look], read_only: Mapping[str, bool]) -> Iterator[Filesystem]:
    for device in dict.fromkeys(look.device for look in looks.values()):
        here = {place: look for place, look in looks.items() if look.device == device}
        roles = tuple(role for role in dict.fromkeys(place.role for place in here) if role != VOLUME)
        look = next(iter(here.values()))
        yield _filesystem(look, roles or (VOLUME,), read_only=read_only.get(look.mountpoint))


def _filesystem(look: _Look, roles: tuple[str, ...], *, read_only: bool | None) -> Filesystem:
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
        read_only=read_only,
    )


def _mountpoint(path: Path) -> str:
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return os.fsencode(path).decode(errors="replace")  # a path can hold bytes that are no text
