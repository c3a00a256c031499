"""Looks at everything once, all at the same time as far as one look does not need what another saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from collectors.facts import EngineState
from daemon.doctor import look_disks, look_engine, look_gpus, look_host, look_ourselves
from daemon.doctor.facts import Host, Reach, Unseen
from daemon.doctor.look import Look
from daemon.doctor.seen import rootless

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.doctor.facts import Seen
    from daemon.doctor.world import World

_SHORT: Final = 8.0
"""Seconds, for what answers at once unless it never does."""
_ENGINE: Final = 20.0
_REMOTE: Final = Unseen("the engine is on another host")
T = TypeVar("T")


def observe(option: Path | None, world: World) -> Host:
    """Give all that this user can see; `option` names the configuration, if not the usual one. It ends in time."""
    settings, file, problem = look_ourselves.configured(option, world)
    address = look_engine.address(settings.docker.host, world)
    endpoint, path = settings.docker.endpoint(), address.socket_path
    gpus = Look("the GPUs", _SHORT, lambda: look_gpus.gpus(world))
    units = Look("systemd", _SHORT, lambda: look_host.units(world)).seen()
    reach = _answered(Look("the engine", _ENGINE, lambda: look_engine.reach(endpoint, world)))
    containers = Look("the containers", _ENGINE, lambda: look_engine.containers(endpoint)) if reach.engine else None
    process = _here(path, "dockerd", lambda: look_host.process(path if reach.engine else "", units, world))
    # That it is rootless stands in no flag: it finds that out by itself.
    own = rootless(reach, path)
    written = _here(path, "daemon.json", lambda: look_engine.daemon_json(process, world, rootless=own))
    state = look_ourselves.state_folder(settings, units, world)
    return Host(
        name=settings.host_name(),
        user=look_host.user(),
        address=address,
        socket=_here(path, "the engine's socket", lambda: look_host.socket_file(path)),
        reach=reach,
        units=units,
        dockerd_installed=look_host.dockerd_installed(world.environ),
        process=process,
        daemon_json=written,
        containers=containers.seen() if containers else Unseen("the engine does not answer"),
        disks=_here(path, "the disks", lambda: look_disks.disks(world, reach, process, written, state)),
        clock=look_host.clock(world),
        gpus=gpus.seen() if path else _REMOTE,
        ourselves=look_ourselves.ourselves(settings, file, problem, units, world),
    )


def _here(socket_path: str, what: str, look: Callable[[], T]) -> Seen[T]:
    """Look at what lies on the engine's own host, if that is this one."""
    return Look(what, _SHORT, look).seen() if socket_path else _REMOTE


def _answered(look: Look[Reach]) -> Reach:
    seen = look.seen()
    if not isinstance(seen, Unseen):
        return seen
    return Reach(state=EngineState.HUNG, why=seen.why, cure="see the engine's log")
