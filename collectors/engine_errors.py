"""The ways in which talking to Docker fails, each with its reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests
import urllib3

from collectors.facts import SYSTEM_SOCKETS, EngineState

if TYPE_CHECKING:
    from collections.abc import Iterator

_DENIED_CURE = "sudo usermod -aG docker $USER, then log in again. Members of that group are root on this host."


class EngineError(Exception):
    """Any failure of a request to Docker; the text says what happened and where."""


class EngineUnavailable(EngineError):  # noqa: N818  it is a state of the world, not a mistake
    """
    Docker cannot be talked to.

    `state` tells in which way, `why` is a sentence for people, `cure` what they can do about it.
    """

    def __init__(self, state: EngineState, why: str, cure: str) -> None:
        super().__init__(f"{why}; {cure}" if cure else why)
        self.state = state
        self.why = why
        self.cure = cure


class EngineForbidden(EngineError):  # noqa: N818  as above: somebody decided so
    """Docker, or a proxy before it, answers 403: `feature` is the path that this client may not ask for."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"Docker or a proxy before it forbids GET {feature} (403)")
        self.feature = feature


class EngineFailure(EngineError):  # noqa: N818  as above
    """Docker answered with an error status other than 403; with 404 only where nothing may be missing."""

    def __init__(self, path: str, status: int, message: str) -> None:
        super().__init__(f"Docker answered GET {path} with {status}: {message}")
        self.path = path
        self.status = status


class EngineProtocolError(EngineError):
    """Docker's answer does not have the shape that we know; `field` names the place."""

    def __init__(self, field: str, found: str) -> None:
        super().__init__(f"Docker's answer cannot be read: {field} {found}")
        self.field = field


def unavailable(error: BaseException, host: str) -> EngineUnavailable:
    """Say what a failed request to `host` means: the first cause in the chain that tells a state decides."""
    place = host.removeprefix("unix://")
    for cause in _causes(error):
        match cause:
            case FileNotFoundError():
                return EngineUnavailable(
                    EngineState.STOPPED, f"Docker is not running ({place}: no such socket)", _start_cure(place)
                )
            case PermissionError():
                return EngineUnavailable(
                    EngineState.DENIED,
                    f"Docker is there, but this user may not talk to it ({place}: permission denied)",
                    _DENIED_CURE,
                )
            case BlockingIOError():  # connect() to a unix socket whose backlog is full: nobody accepts any more
                return _hung(place, "accepts no more connections")
            case urllib3.exceptions.NewConnectionError():  # a timeout by its class only: what is behind it tells
                continue
            case TimeoutError() | requests.Timeout() | urllib3.exceptions.TimeoutError():
                return _hung(place, "does not answer in time")
            case requests.exceptions.SSLError():
                return EngineUnavailable(
                    EngineState.DENIED,
                    f"Docker refuses our TLS ({place}: {cause})",
                    "check [docker] tls_ca, tls_cert, tls_key",
                )
            case _:
                continue
    return EngineUnavailable(EngineState.CRASHED, f"Docker is down ({place}: {_words(error)})", _look_cure(place))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk the chain of an error: requests and urllib3 keep causes in `args` and `reason`, not in `__cause__`."""
    todo, seen = [error], set[int]()
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = (getattr(current, "reason", None), current.__cause__, current.__context__, *current.args)
        todo.extend(item for item in linked if isinstance(item, BaseException))


def _words(error: BaseException) -> str:
    """Give the operating system's words for an error where it has some, else the innermost error's own."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return str(causes[-1]) or type(causes[-1]).__name__


def _hung(place: str, how: str) -> EngineUnavailable:
    return EngineUnavailable(EngineState.HUNG, f"Docker is hung: it {how} ({place})", _look_cure(place))


def _start_cure(place: str) -> str:
    if place in SYSTEM_SOCKETS:
        return "sudo systemctl start docker"
    return "start the engine, or correct [docker] host"


def _look_cure(place: str) -> str:
    if place in SYSTEM_SOCKETS:
        return "sudo journalctl -u docker -n 50 says why"
    return "see the engine's log, or correct [docker] host"
