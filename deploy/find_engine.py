"""
Says which Docker Engine of this machine `make run` can watch; standard library only, it runs before any set-up.

Exit code 0: its address is on standard output. 3: there is none, but a private one can be started (this is
root). 1: neither; what to type stands on standard error.
"""

import http.client
import os
import socket
import sys
import urllib.parse
from pathlib import Path

TIMEOUT_SECONDS = 5
NO_ENGINE_BUT_ROOT = 3


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self.path)


def candidates() -> list[str]:
    """List the addresses to try; one that was asked for in the environment is the only one."""
    asked = os.environ.get("SHIPKEEPER_DOCKER__HOST") or os.environ.get("DOCKER_HOST")
    if asked:
        return [asked]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    sockets = ("/var/run/docker.sock", f"{runtime}/docker.sock", Path("~/.docker/run/docker.sock").expanduser())
    return [f"unix://{path}" for path in sockets]


def ping(address: str) -> None:
    """Ask the engine whether it is there. Raises `OSError` or `HTTPException` with the reason why not."""
    place = urllib.parse.urlsplit(address)
    if place.scheme == "unix":
        connection: http.client.HTTPConnection = UnixConnection(place.path)
    elif place.scheme in ("tcp", "http"):
        connection = http.client.HTTPConnection(place.netloc, timeout=TIMEOUT_SECONDS)
    else:
        raise OSError(f"{place.scheme}:// is no kind of address that Shipkeeper can watch, unix:// and tcp:// are")
    try:
        connection.request("GET", "/_ping")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.client.OK:
        raise OSError(f"it answered {status} to a ping")


def main() -> int:
    """Try them all, the first that answers wins."""
    addresses = candidates()
    denied = []
    for address in addresses:
        try:
            ping(address)
        except PermissionError:
            denied.append(address)
        except TimeoutError:
            return found(address)  # it hangs: to notice that is what the watchman is for
        except (OSError, http.client.HTTPException) as error:
            if len(addresses) == 1:
                reason = getattr(error, "strerror", None) or error
                say(f"the engine at {address} cannot be reached: {reason}", "start it, or set or unset DOCKER_HOST")
                return 1
        else:
            return found(address)
    if denied:
        say(
            f"there is a Docker Engine at {denied[0]}, but this user may not talk to it",
            "sudo usermod -aG docker $USER, then log in again. Members of that group are root on this host.\n"
            "     or: sudo make run",
        )
        return 1
    if os.getuid() == 0:
        return NO_ENGINE_BUT_ROOT
    say("no Docker Engine is running here, and a private one for the demo needs root", "sudo make demo")
    return 1


def found(address: str) -> int:
    """Hand the address to the Makefile."""
    sys.stdout.write(address + "\n")
    return 0


def say(what: str, cure: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"make run: {what}\n  cure: {cure}\n")


if __name__ == "__main__":
    sys.exit(main())
