"""The command line's side of the control socket: one HTTP call, its JSON answer or words for a person."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

from daemon.errors import ShipkeeperError

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 60.0
"""Seconds to wait for an answer; a test message waits for its sinks."""


class NoDaemonError(ShipkeeperError):
    """Nothing answers at the control socket."""


class SilentDaemonError(ShipkeeperError):
    """Something listens at the control socket, and gives no answer."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("shipkeeper", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(control_socket: Path, method: str, path: str, patience: float = _PATIENCE) -> Any:
    """
    Make one call and give its JSON; ShipkeeperError when it refuses.

    NoDaemonError when no daemon runs, SilentDaemonError when it ends or `patience` does before the answer is there.
    """
    connection = _Connection(control_socket, patience)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        document = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemonError(
            f"no daemon answers at {control_socket}; start it with `shipkeeper run`, "
            "or name its configuration with --config"
        ) from error
    except PermissionError as error:
        raise ShipkeeperError(
            f"this user may not talk to the daemon ({control_socket}: permission denied)\n"
            "  cure: sudo usermod -aG shipkeeper $USER, then log in again; or use sudo"
        ) from error
    except TimeoutError as error:
        raise SilentDaemonError(
            f"the daemon at {control_socket} did not answer within {patience:.0f} s; its log tells more"
        ) from error
    except ConnectionError as error:
        raise SilentDaemonError(
            f"the daemon at {control_socket} ended before it had answered; its log tells why"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ShipkeeperError(f"what answers at {control_socket} is no shipkeeper: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise ShipkeeperError(f"the daemon refused: {document['error']}")
    return document
