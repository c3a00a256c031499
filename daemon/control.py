"""The control socket: answers the table of verbs over HTTP, to the processes that may ask."""

from __future__ import annotations

import errno
import grp
import json
import logging
import os
import pwd
import socket
import stat
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.errors import ShipkeeperError
from daemon.verbs import Role
from daemon.web.exchange import Peer, Response
from daemon.web.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.crew import Crew
    from daemon.verbs import JSON, Verb
    from daemon.web.exchange import Request

log = logging.getLogger(__name__)

GROUP = "shipkeeper"
"""Its members may look, where the system has such a group."""

_BODY_LIMIT = 64 * 1024
_DEADLINE = 60.0
"""Seconds a call may take: a test message waits for its sinks."""
_PROBE_PATIENCE = 2.0


class ControlServer:
    """
    Answers the verbs on a Unix socket at `path`.

    Root and the daemon's own user are operators, members of the socket's group are viewers; nobody else may
    connect, and is told so if they can.
    """

    def __init__(self, path: Path, verbs: Sequence[Verb], crew: Crew, group: str = GROUP) -> None:
        self._path = path
        self._crew = crew
        self._verbs = {(verb.path, verb.method): verb for verb in verbs}
        self._group = group
        self._gid = -1
        self._listener: Listener | None = None

    def start(self) -> None:
        """Make the socket and answer; ShipkeeperError when it cannot be made or a daemon answers there already."""
        sock = bind(self._path, self._group)
        self._gid = self._path.stat().st_gid
        self._listener = Listener(
            sock, self._answer, name="control", body_limit=_BODY_LIMIT, crew=self._crew, deadline=_DEADLINE
        )
        self._listener.start()

    def stop(self) -> None:
        """Ask for the end; never waits."""
        if self._listener is not None:
            self._listener.stop()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _answer(self, request: Request) -> Response:
        role = role_of(request.peer, self._gid) if request.peer else None
        if role is None:
            return _refusal(HTTPStatus.FORBIDDEN, f"only root, the daemon's user and the group of {self._path} may ask")
        verb = self._verbs.get((request.path, request.method))
        if verb is None:
            allowed = [method for path, method in self._verbs if path == request.path]
            if allowed:
                words = f"{request.path} takes {' or '.join(allowed)}"
                return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, words, ("Allow", ", ".join(allowed)))
            return _refusal(HTTPStatus.NOT_FOUND, "this daemon knows no such call; are both of the same version?")
        if role < verb.role:
            return _refusal(HTTPStatus.FORBIDDEN, "this acts, so it is for root and the daemon's user: use sudo")
        return _handle(verb, request)


def _handle(verb: Verb, request: Request) -> Response:
    try:
        return _json(HTTPStatus.OK, verb.handle(request))
    except ShipkeeperError as error:
        return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    except Exception as error:  # the boundary of one call: its caller is told, the daemon goes on
        log.exception("%s %s failed", verb.method, verb.path)
        return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}; the daemon's log tells more")


def role_of(peer: Peer, socket_gid: int) -> Role | None:
    """Give what a process may do, None for nothing."""
    if peer.uid in {0, os.geteuid()}:
        return Role.OPERATOR
    return Role.VIEWER if socket_gid in _groups(peer) else None


def _groups(peer: Peer) -> set[int]:
    try:
        return {peer.gid, *os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid)}
    except KeyError:  # a user that only its container knows
        return {peer.gid}


def bind(path: Path, group: str) -> socket.socket:
    """
    Make the socket at `path`, for its owner and group alone; ShipkeeperError with the cure when that fails.

    A socket that a dead daemon left is replaced. The group is `group` where it exists and may be given.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # The file takes the mode that its socket has when it is bound: there is no moment at which others may connect.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(str(path))
        _give_to(path, group)
        path.chmod(0o660)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ShipkeeperError(
                f"a process that does not answer holds {path}: another shipkeeper, starting or hung; "
                f"`ss -xlp src {path}` shows it"
            ) from error
        raise ShipkeeperError(
            f"cannot make the control socket {path}: {error.strerror or error}; make its folder writable for this "
            "user, or set [control] socket"
        ) from error
    return sock


def _clear(path: Path) -> None:
    """Remove the socket of a dead daemon; ShipkeeperError when what is there is alive, or is no socket."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing there, or nothing to be seen: binding will tell
    if not stat.S_ISSOCK(mode):
        raise ShipkeeperError(f"{path} is in the way and is no socket; move it, or set [control] socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_PATIENCE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return  # neither dead for sure nor alive: binding will tell
        else:
            raise ShipkeeperError(f"shipkeeper is already running (pid {Peer.of(probe).pid}) and answers at {path}")


def _give_to(path: Path, group: str) -> None:
    try:
        gid = grp.getgrnam(group).gr_gid
        if path.stat().st_gid != gid:  # a hardened service may not even ask for what is so already
            os.chown(path, -1, gid)
    except KeyError:
        log.info("there is no group %s: %s keeps the group of this process", group, path)
    except PermissionError:
        log.warning("cannot give %s to the group %s: this user is no member of it", path, group)


def _refusal(status: HTTPStatus, words: str, *headers: tuple[str, str]) -> Response:
    return _json(status, {"error": words}, *headers)


def _json(status: HTTPStatus, document: JSON, *headers: tuple[str, str]) -> Response:
    return Response(status, json.dumps(document).encode() + b"\n", "application/json", headers)
