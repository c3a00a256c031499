"""Whether Docker runs, and who can reach it."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING

from collectors.facts import EngineState
from daemon.doctor import cures
from daemon.doctor.facts import Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import by_systemd, daemon_settings, flags, hosts, is_rootless, remote, settings_path, unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.doctor.facts import Host

_LOG = "sudo journalctl -u docker.service -n 50   # says why"
_START = "sudo systemctl start docker.service"
_INSTALL = (
    "# Docker is not installed here: https://docs.docker.com/engine/install/, or of this distribution",
    "sudo apt-get install docker.io",
)
_BY_HAND = ("# dockerd is installed, and systemd does not know it: start it by what starts it on this host",)
_OTHER = ("# it is not docker.service that listens there: start it by what starts it on this host, and see its log",)
_ROOTLESS = ("systemctl --user restart docker", "journalctl --user -u docker -n 50   # says why")
_OTHERS = 0o006
_ACCESSIBLE = re.compile(r"API is accessible on https?://(\S+)")
_LOOPBACK = ("127.", "localhost", "[::1]")


def reachable(host: Host) -> Iterator[Finding]:
    """Judge whether the engine answers us."""
    reach = host.reach
    if reach.engine is not None:
        kind = "Podman" if reach.engine.podman else "Docker"
        yield ok(f"{kind} {reach.engine.version}, API {reach.engine.api_version}, answers at {host.address.ours}")
        return
    match reach.state:
        case EngineState.DENIED:
            cure = _let_in(host)
        case EngineState.STOPPED | EngineState.CRASHED:
            cure = _start(host)
        case EngineState.HUNG:
            cure = ("sudo systemctl status docker.service", _LOG) if host.address.of_system else _elsewhere(host)
        case _:
            cure = ()
    yield Finding(Level.PROBLEM, reach.why, cure or (f"# {reach.cure}",))


def _elsewhere(host: Host) -> tuple[str, ...]:
    """Say how an engine comes to run that is not the system's."""
    if remote(host):
        return ()
    return _ROOTLESS if is_rootless(host) else _OTHER


def _let_in(host: Host) -> tuple[str, ...]:
    """Say how this user may come to talk to the engine: by the group that owns the socket, if it is one for that."""
    if isinstance(host.socket, Unseen) or host.socket is None:
        return ()
    group, user = host.socket.group, host.user
    warning = f"# members of the group {group} are root on this host"
    if not cures.is_for_a_group(host.socket):
        return cures.socket_for_a_group(host, host.socket)
    if group in user.account_groups:
        return (f"newgrp {quote(group)}   # you are a member by now: this shell began before that",)
    return (f"sudo usermod -aG {quote(group)} {quote(user.name)}", "# then log in again", warning)


def _start(host: Host) -> tuple[str, ...]:  # noqa: PLR0911  each is another thing in the way
    """Say how the engine comes to run: what is in the way decides."""
    address = host.address
    if remote(host):
        return ()
    if not address.configured and address.cli != address.ours:
        talks = f"# docker of this user talks to {address.cli} ({address.cli_from})"
        return (talks, _watch(address.cli))
    if not host.address.of_system:
        return _elsewhere(host)
    service = unit(host, "docker.service")
    match service.get("UnitFileState"), service.get("ActiveState"):
        case None, _:
            return _BY_HAND if host.dockerd_installed else _INSTALL
        case "masked", _:
            return ("sudo systemctl unmask docker.service docker.socket", _START)
        case _, "failed":
            return (_LOG, "sudo systemctl reset-failed docker.service", _START)
        case "disabled", _:
            return ("sudo systemctl enable --now docker.service",)
        case _:
            return (_START,)


def socket_activation(host: Host) -> Iterator[Finding]:
    """Judge whether what systemd listens at fits what the engine expects."""
    if remote(host):
        yield ok("the engine is on another host")
        return
    if isinstance(host.units, Unseen):
        yield unseen(host.units.why)
        return
    service, socket = unit(host, "docker.service"), unit(host, "docker.socket")
    listens = socket.get("ActiveState") == "active"
    runs = service.get("ActiveState") == "active"
    if "fd://" in hosts(host) and not runs and not listens:
        yield Finding(
            Level.PROBLEM,
            f"docker.service takes its socket from docker.socket, which is {socket.get('ActiveState', 'not there')}",
            ("sudo systemctl enable --now docker.socket", _START),
            "With -H fd:// the engine ends at its start unless systemd hands it a socket.",
        )
    elif listens and not runs:
        yield Finding(
            Level.NOTE,
            "docker.socket listens while docker.service does not run: whoever connects next starts the engine",
            (_START, "# or, if it is to stay down: sudo systemctl stop docker.socket"),
        )
    elif service.get("NeedDaemonReload") == "yes":
        yield Finding(
            Level.WARNING,
            "the unit of docker.service was changed, and systemd has not read it since",
            ("sudo systemctl daemon-reload",),
            "The next restart would still go by the old unit.",
        )
    else:
        yield ok("systemd and the engine agree on the socket" if service else "systemd does not run this engine")


def docker_context(host: Host) -> Iterator[Finding]:
    """Judge whether the docker command of this user talks to the engine that we watch."""
    address = host.address
    if address.cli == address.ours:
        yield ok(f"docker and Shipkeeper both talk to {address.ours}")
        return
    yield Finding(
        Level.NOTE,
        f"docker of this user talks to {address.cli} ({address.cli_from or 'its default'}), "
        f"Shipkeeper to {address.ours}",
        (_watch(address.cli), f"export DOCKER_HOST={quote(address.ours)}   # lets docker talk to this one"),
    )


def _watch(address: str) -> str:
    """Say how Shipkeeper comes to watch another engine; it reads no ssh."""
    if address.startswith(("unix://", "tcp://")):
        return f'# [docker] host = "{address}" in the configuration lets Shipkeeper watch that one'
    return "# to watch that one, run Shipkeeper on its host"


def exposed(host: Host) -> Iterator[Finding]:
    """Judge who else can talk to the engine: everyone who can is root on its host."""
    if isinstance(host.process, Unseen) and isinstance(host.daemon_json, Unseen) and host.reach.engine is None:
        yield unseen(host.process.why)
        return
    found = [*_open_ports(host), *_open_socket(host)]
    well = "the engine asks who is there" if remote(host) else "only members of a group can talk to the engine"
    yield from found or [ok(well)]


def _open_ports(host: Host) -> Iterator[Finding]:
    verified = "tlsverify" in flags(host) or daemon_settings(host).get("tlsverify") is True
    seen = [each for each in dict.fromkeys(hosts(host)) if _tcp(each) is not None]
    # What we cannot see of its flags and its file it tells itself.
    for address in ([] if verified else seen) or _by_its_own_word(host):
        place = _tcp(address) or ""
        local = place.startswith(_LOOPBACK)
        whom = "every user and container of this host that can reach that port" if local else "everyone who reaches it"
        yield Finding(
            Level.WARNING if local else Level.PROBLEM,
            f"the engine listens at {address} without verifying who asks: {whom} is root here",
            (
                f"# take {address} out of the flags of docker.service or the hosts in {settings_path(host)}; for",
                "# access from afar use ssh: docker context create NAME --docker host=ssh://USER@HOST",
                *((cures.EDIT_UNIT,) if by_systemd(host) else ()),
                cures.restart(host),
            ),
        )


def _by_its_own_word(host: Host) -> list[str]:
    warnings = host.reach.info.get("Warnings") or []
    return [f"tcp://{place}" for each in warnings for place in _ACCESSIBLE.findall(str(each))]


def _tcp(address: str) -> str | None:
    """Give where an address listens, as dockerd reads it: TCP without a scheme, this host alone without a name."""
    scheme, found, place = address.partition("://")
    if not found:
        scheme, place = "tcp", address
    if scheme != "tcp" or not address:
        return None
    return f"localhost{place}" if place.startswith(":") or not place else place


def _open_socket(host: Host) -> Iterator[Finding]:
    if isinstance(host.socket, Unseen) or host.socket is None or not host.socket.mode & _OTHERS:
        return
    path = quote(host.address.socket_path)
    yield Finding(
        Level.PROBLEM,
        f"everyone on this host may talk to the engine: {path} has mode {host.socket.mode:04o}",
        (f"sudo chmod o= {path}", "# and see SocketMode= in: systemctl cat docker.socket"),
    )
