"""Questions that several checks ask of what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.doctor import settings
from daemon.doctor.facts import Unseen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.doctor.facts import Host, Reach

DAEMON_JSON = "/etc/docker/daemon.json"


def daemon_settings(host: Host) -> Mapping[str, Any]:
    """Give what the engine's file says, nothing where that cannot be read."""
    if isinstance(host.daemon_json, Unseen):
        return {}
    return settings.parse(host.daemon_json.text).values


def settings_path(host: Host) -> str:
    """Give the path of the engine's file."""
    if isinstance(host.daemon_json, Unseen):
        return flags(host).get("config-file", (DAEMON_JSON,))[-1]
    return host.daemon_json.path


def flags(host: Host) -> Mapping[str, tuple[str, ...]]:
    """Give dockerd's flags by their key, none where they cannot be seen."""
    return {} if isinstance(host.process, Unseen) else settings.flags(host.process.arguments)


def hosts(host: Host) -> tuple[str, ...]:
    """Give the addresses at which the engine is told to listen, as far as that can be seen."""
    written = daemon_settings(host).get("hosts", [])
    in_file = tuple(each for each in written if isinstance(each, str)) if isinstance(written, list) else ()
    return (*flags(host).get("hosts", ()), *in_file)


def unit(host: Host, name: str) -> Mapping[str, str]:
    """Give what systemd says of a unit; nothing where it has none of that name, or cannot be asked."""
    if isinstance(host.units, Unseen):
        return {}
    found = host.units.get(name, {})
    return found if found.get("LoadState") == "loaded" else {}


def remote(host: Host) -> bool:
    """Tell whether the engine is reached over the network: then its files are not on this host."""
    return not host.address.socket_path


def rootless(reach: Reach, socket_path: str) -> bool:
    """Tell whether the engine is an ordinary user's: by its own word, where it does not answer by its place."""
    if reach.engine is None:
        return socket_path.startswith("/run/user/")
    return "name=rootless" in (reach.info.get("SecurityOptions") or [])


def is_rootless(host: Host) -> bool:
    """Tell whether the engine of this host is an ordinary user's."""
    return rootless(host.reach, host.address.socket_path)


def by_systemd(host: Host) -> bool:
    """Tell whether the engine is docker.service of the system: another one is neither stopped nor started by that."""
    service = unit(host, "docker.service")
    if remote(host) or not service or is_rootless(host):
        return False
    if host.reach.engine is None:
        return host.address.of_system
    pid = None if isinstance(host.process, Unseen) else host.process.pid
    known = pid is not None and "MainPID" in service
    return service.get("ActiveState") == "active" and (not known or service["MainPID"] == str(pid))


def by_snap(host: Host) -> bool:
    """Tell whether the engine is the snap called docker, which has other units and no other place for its data."""
    engine = host.reach.engine
    return engine is not None and engine.data_root.startswith("/var/snap/")
