"""Asks systemd what it makes of the engine, so that no ping of ours starts an engine that somebody stopped."""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from collectors.facts import EngineState
from daemon.engine_judge import Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

UNIT: Final = "docker.service"
_SOCKET: Final = "docker.socket"
_ASK: Final = ("systemctl", "show", UNIT, _SOCKET, "--property=Id,LoadState,ActiveState,Result,Job")
_START: Final = "sudo systemctl start docker"
_TIMEOUT_SECONDS: Final = 5
_BOOTED: Final = Path("/run/systemd/system")


class Runner(Protocol):
    """Runs a program."""

    def __call__(self, command: Sequence[str], /) -> str:
        """Give what it printed; raises OSError or subprocess.SubprocessError when it could not."""
        ...


def run(command: Sequence[str]) -> str:
    """Run a program for at most five seconds and give what it printed; it is not given our environment's secrets."""
    done = subprocess.run(  # noqa: S603  the command is the constant above
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_SECONDS,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
    )
    return done.stdout


class UnitState:
    """
    The state of `docker.service`, where systemd runs this host and the endpoint is its socket.

    With socket activation `docker.socket` listens on after the service was stopped: any connection of ours
    would start the engine again.
    """

    def __init__(self, *, concerns_us: bool, runner: Runner = run, booted: Path = _BOOTED) -> None:
        """`concerns_us` tells whether the endpoint is the system's socket; `booted` exists where systemd is PID 1."""
        self._concerns_us = concerns_us
        self._runner = runner
        self._booted = booted

    def outage(self) -> Outage | None:
        """Tell why the engine is away, as systemd sees it; `None` when it is not, or systemd cannot say."""
        if not self._concerns_us or not self._booted.is_dir():
            return None
        try:
            shown = self._runner(_ASK)
        except (OSError, subprocess.SubprocessError) as error:
            log.debug("systemctl could not be asked: %s", error)
            return None
        units = {unit["Id"]: unit for unit in map(_properties, shown.split("\n\n")) if "Id" in unit}
        service, socket = units.get(UNIT, {}), units.get(_SOCKET, {})
        if service.get("LoadState") != "loaded":
            return None  # the engine on this socket is not systemd's
        found = _outage(service)
        return replace(found, hands_off=socket.get("ActiveState") == "active") if found else None


def _properties(block: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in block.splitlines())


def _outage(service: dict[str, str]) -> Outage | None:
    # In the middle of a restart the unit is inactive too, but a job is waiting to start it.
    settled = service.get("Job", "") in {"", "0"}
    match service.get("ActiveState"):
        case "deactivating":
            # A ping now would wait in the socket's queue, and start the engine once it has stopped.
            return Outage(EngineState.STOPPED, f"{UNIT} is being stopped", _START)
        case "inactive":
            return Outage(EngineState.STOPPED, f"{UNIT} was stopped", _START, settled)
        case "failed":
            why = f"{UNIT} failed ({service.get('Result', 'no result')})"
            return Outage(EngineState.CRASHED, why, "sudo journalctl -u docker -n 50 says why", settled)
        case _:
            return None
