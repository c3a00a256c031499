"""Looks at the filesystems that matter to Docker, and at those that it could move to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collectors.disk import Filesystems
from collectors.disk_places import DiskPlaces
from collectors.facts import Engine, EngineState
from collectors.mounts import mounts
from daemon.doctor import settings
from daemon.doctor.facts import Disks, Target, Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collectors.disk import Place
    from collectors.facts import Filesystem
    from collectors.mounts import Mount
    from daemon.doctor.facts import Process, Reach, Seen, TextFile
    from daemon.doctor.world import World

_DEFAULT_ROOT: Final = "/var/lib/docker"
_LOCAL: Final = frozenset({"ext4", "xfs"})
"""Filesystems that Docker's storage driver is at home on."""
_NO_PLACE: Final = re.compile(r"/(boot|efi|usr|run|var/log)(/|$)|/(var/)?tmp$")
"""Disks that have a task of their own, which hardened hosts have many of."""


def disks(world: World, reach: Reach, process: Seen[Process], written: Seen[TextFile], state: Path) -> Disks:
    """Measure them; where the engine does not answer its settings say where its data is."""
    engine = reach.engine or Engine(
        state=EngineState.STOPPED, since=world.clock.now(), data_root=_configured_root(process, written)
    )
    places = DiskPlaces(state, lambda: engine, world.root)
    found = Filesystems(places.places).measure()
    known = {mount.point: mount for mount in mounts(world.root)}
    filesystems = found.filesystems
    errors = dict(found.errors)
    if not state.exists():
        errors.pop("state", None)  # it is made at the first start
    return Disks(
        filesystems=filesystems,
        errors=errors,
        devices={point: mount.source for point, mount in known.items()},
        kinds={point: mount.kind for point, mount in known.items()},
        targets=_targets(known, filesystems),
        data_root=engine.data_root,
        containerd_root=_containerd_root(places.places(), engine.data_root),
    )


def _configured_root(process: Seen[Process], written: Seen[TextFile]) -> str:
    given = {} if isinstance(process, Unseen) else settings.flags(process.arguments)
    values = {} if isinstance(written, Unseen) else settings.parse(written.text).values
    for named in (*given.get("data-root", ()), values.get("data-root")):
        if isinstance(named, str) and named:
            return named
    return _DEFAULT_ROOT


def _containerd_root(places: Sequence[Place], data_root: str) -> str:
    """Give the root of the system's containerd; empty where the engine keeps one of its own below the data-root."""
    for place in places:
        if place.role == "containerd-root":
            path = place.path.parent if place.path.name.startswith("io.containerd.") else place.path
            return "" if path.is_relative_to(data_root) else str(path)
    return ""


def _targets(known: Mapping[str, Mount], filesystems: Sequence[Filesystem]) -> tuple[Target, ...]:
    """Give local filesystems on which Docker's data does not lie yet."""
    taken = {
        each.device for each in filesystems if not {"data-root", "containerd-root", "os-root"}.isdisjoint(each.roles)
    }
    found = list(_candidates(known.values(), taken))
    return tuple(sorted(found, key=lambda each: -each.available_bytes))


def _candidates(known: Iterable[Mount], taken: set[int]) -> Iterator[Target]:
    for mount in known:
        if mount.kind not in _LOCAL or mount.read_only or not mount.whole or _NO_PLACE.match(mount.point):
            continue
        path = Path(mount.point)
        try:
            device, space = path.stat().st_dev, os.statvfs(path)
        except OSError:
            continue
        if path.is_dir() and device not in taken:
            taken.add(device)
            size, left = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
            yield Target(mountpoint=mount.point, size_bytes=size, available_bytes=left)
