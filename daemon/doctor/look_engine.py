"""Looks at the engine: where it is looked for, what it answers, with which settings it was started."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collectors.engine_api import EngineApi
from collectors.engine_errors import (
    EngineError,
    EngineForbidden,
    EngineProtocolError,
    EngineUnavailable,
)
from collectors.facts import SYSTEM_SOCKETS, EngineState
from daemon.doctor import settings
from daemon.doctor.facts import Address, Reach, TextFile, Unseen
from daemon.doctor.seen import DAEMON_JSON
from daemon.unit_state import UnitState

if TYPE_CHECKING:
    from collectors.engine_http import Endpoint
    from collectors.facts import Container
    from daemon.doctor.facts import Process, Seen
    from daemon.doctor.world import World

DEFAULT: Final = "unix:///var/run/docker.sock"
_ANSWER: Final = timedelta(seconds=5)
INSPECTING_SECONDS: Final = 10.0
_TOO_LONG: Final = 1 << 20
"""Bytes; nobody's settings are longer."""


def address(ours: str, world: World) -> Address:
    """Find out which engine the docker command of this user talks to."""
    cli, said = _of_cli(world)
    return Address(ours=ours, configured=ours != DEFAULT, cli=cli, cli_from=said)


def _of_cli(world: World) -> tuple[str, str]:
    """Give the address with what says so; in the order in which docker itself looks."""
    if host := world.environ.get("DOCKER_HOST"):
        return host, "DOCKER_HOST"
    folder = Path(world.environ.get("DOCKER_CONFIG") or world.home / ".docker")
    said = "DOCKER_CONTEXT"
    name = world.environ.get("DOCKER_CONTEXT", "")
    if not name:
        said = str(folder / "config.json")
        name = str(_object(folder / "config.json").get("currentContext") or "")
    if name in {"", "default"}:
        return DEFAULT, ""
    meta = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    endpoints = _object(meta).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = str(docker.get("Host") or "") if isinstance(docker, dict) else ""
    return host or f"context {name}, which cannot be read", f"the context {name}, by {said}"


def _object(file: Path) -> dict[str, Any]:
    """Read a file of JSON that holds an object; an empty one where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def reach(endpoint: Endpoint, world: World) -> Reach:
    """Talk to the engine, unless that would start one that somebody stopped."""
    system = endpoint.socket_path in SYSTEM_SOCKETS
    booted = world.root / "run/systemd/system"
    stopped = UnitState(concerns_us=system, runner=world.run, booted=booted).outage()
    if stopped and stopped.hands_off:
        return Reach(state=stopped.state, why=stopped.why, cure=stopped.cure)
    try:
        with closing(EngineApi.connect(endpoint, _ANSWER)) as api:
            return Reach(state=EngineState.UP, engine=api.engine(world.clock.now()), info=api.whole_info())
    except EngineUnavailable as error:
        return Reach(state=error.state, why=error.why, cure=error.cure)
    except EngineProtocolError as error:
        cure = "check that [docker] host is a Docker Engine"
        return Reach(state=EngineState.UNSUPPORTED, why=str(error), cure=cure)
    except EngineForbidden as error:
        return Reach(state=EngineState.DENIED, why=str(error), cure="allow GET /info in the proxy")
    except EngineError as error:
        return Reach(state=EngineState.HUNG, why=str(error), cure="see the engine's log")


def containers(endpoint: Endpoint) -> tuple[Container, ...]:
    """
    Inspect all containers.

    Raises OSError with the engine's reason where there is no list, or where ten seconds do not suffice.
    """
    ends_at = time.monotonic() + INSPECTING_SECONDS
    found: list[Container] = []
    try:
        with closing(EngineApi.connect(endpoint, _ANSWER)) as api:
            listed = api.containers()
            for summary in listed:
                if time.monotonic() > ends_at:
                    raise OSError(f"{len(found)} of {len(listed)} were inspected within {INSPECTING_SECONDS:.0f} s")
                container = _inspected(api, summary.id)
                found += [container] if container else []
    except EngineError as error:
        raise OSError(str(error)) from error
    return tuple(found)


def _inspected(api: EngineApi, container_id: str) -> Container | None:
    try:
        return api.container(container_id)
    except EngineUnavailable:
        raise
    except EngineError:  # Docker itself cannot inspect this one
        return None


def daemon_json(process: Seen[Process], world: World, *, rootless: bool = False) -> TextFile:
    """Read the file of the engine's settings, which a rootless one has at its user's home. Raises OSError."""
    given = {} if isinstance(process, Unseen) else settings.flags(process.arguments)
    path = given["config-file"][-1] if "config-file" in given else DAEMON_JSON
    if path == DAEMON_JSON and (rootless or "rootless" in given):
        path = str(Path(world.environ.get("XDG_CONFIG_HOME") or world.home / ".config") / "docker/daemon.json")
    try:
        with (world.root / path.lstrip("/")).open(encoding="utf-8", errors="replace") as file:
            return TextFile(path=path, text=file.read(_TOO_LONG))
    except (FileNotFoundError, NotADirectoryError):
        if (world.root / ".dockerenv").exists():
            raise OSError("this is a container, the file is on its host") from None
        return TextFile(path=path, text=None)
