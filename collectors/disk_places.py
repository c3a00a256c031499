"""Which filesystems matter: those of the engine's data, of its volumes, of the system, of our own state."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collectors.disk import VOLUME, Place
from collectors.mounts import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collectors.facts import Engine

MOST_VOLUMES: Final = 50
"""Volumes with a mount of their own that are looked at."""

_SYSTEM_SOCKETS: Final = ("", "/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock")


class DiskPlaces:
    """
    The places on this machine, as Docker lays them out.

    `engine` gives the engine, `None` for one on another machine: its places are out of reach. `root` is where this
    machine's files begin.
    """

    def __init__(self, state: Path, engine: Callable[[], Engine | None], root: Path = Path("/")) -> None:
        self._state = state
        self._engine = engine
        self._root = root
        self._containerd: tuple[Engine, Place] | None = None

    def places(self) -> Sequence[Place]:
        """Give them, the data-root first; only what lies on the system's own disk is read for that."""
        ours = (Place("os-root", self._root), Place("state", self._state))
        engine = self._engine()
        if engine is None:
            return ours
        if not engine.data_root:
            return (*ours, self._containerd_root(engine))
        data = Path(engine.data_root)
        mounted = self._mounted(engine.data_root)
        volumes = [point for point in mounted if point.startswith(f"{data}/volumes/")]
        return (
            Place("data-root", data),
            *(
                # Only root may look into the folder. Unless a mount is there, its parts lie where it lies itself.
                Place(role, path, (data,), if_forbidden=None if str(path) in mounted else data)
                for role, path in (("volumes", data / "volumes"), ("logs", data / "containers"))
            ),
            *(Place(VOLUME, Path(point)) for point in volumes[:MOST_VOLUMES]),
            *ours,
            self._containerd_root(engine),
        )

    def _containerd_root(self, engine: Engine) -> Place:
        if self._containerd is None or self._containerd[0] is not engine:
            self._containerd = engine, self._find_containerd_root(engine)
        return self._containerd[1]

    def _find_containerd_root(self, engine: Engine) -> Place:
        system = self._system_containerd()
        if not engine.containerd_store:
            # It holds hardly more than the shims' state; but who watches Docker's disks expects to see it.
            return Place("containerd-root", system, optional=True)
        data = Path(engine.data_root)
        # The engine's own containerd keeps its things below the data-root. The system's does so nowhere near.
        own = (data / "containerd/daemon", data / "containerd")
        roots = (system,) if engine.containerd_address in _SYSTEM_SOCKETS[1:] else own
        if not engine.containerd_address:
            roots = (*own[:1], system)
        first, *others = (each / f"io.containerd.snapshotter.v1.{engine.storage_driver}" for each in roots)
        forbidden = system if roots == (system,) else None
        return Place("containerd-root", first, tuple(others), if_forbidden=forbidden)

    def _system_containerd(self) -> Path:
        """Give the folder that containerd's configuration names, or its default."""
        try:
            settings = tomllib.loads((self._root / "etc/containerd/config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # unreadable for us, or for everyone
            settings = {}
        named = settings.get("root")
        return Path(named) if isinstance(named, str) and named else self._root / "var/lib/containerd"

    def _mounted(self, below: str) -> list[str]:
        """Give what is mounted below a folder."""
        return sorted({mount.point for mount in mounts(self._root) if mount.point.startswith(f"{below}/")})
