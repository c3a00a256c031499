"""The web server: pages by path, for GET and HEAD, on a TCP address."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from isal import igzip

from daemon.errors import ShipkeeperError
from daemon.web.exchange import Answer, Request, Response
from daemon.web.holder import holder
from daemon.web.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from daemon.crew import Crew
    from daemon.web.access import Access, AccessStats

_GZIP_FROM = 1024
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class WebStats:
    """What the metrics tell of the web server; `loop_lag_seconds` is the worst of the last minute."""

    access: AccessStats
    loop_lag_seconds: float | None


class WebServer:
    """
    Serves `pages` on `listen` (`host:port`, `[ipv6]:port`; port 0 takes a free one).

    Bodies are gzipped when the client takes them so. A request with a body is refused, and one that `access` does
    not admit, whatever it asks for.
    """

    def __init__(self, listen: str, pages: Mapping[str, Answer], access: Access, crew: Crew) -> None:
        self._listen = listen
        self._access = access
        self._crew = crew
        self._pages = dict(pages)
        self._listener: Listener | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """The address that is listened on; the one asked for until then."""
        return self._address or self._listen

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"{'https' if self._access.tls() else 'http'}://{self.address}"

    @property
    def stats(self) -> WebStats:
        """How it is doing."""
        return WebStats(self._access.stats, self._listener.lag.worst if self._listener else None)

    def start(self) -> None:
        """Bind and serve; ShipkeeperError names an address that cannot be had, or a bad web configuration."""
        self._access.open()
        sock = _bound(self._listen)
        host, port = sock.getsockname()[:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._listener = Listener(sock, self._answer, name="web", crew=self._crew, tls=self._access.tls)
        self._listener.start()

    def stop(self) -> None:
        """Ask for the end; never waits."""
        if self._listener:
            self._listener.stop()

    def close(self) -> None:
        """Stop serving; returns within 2 s whatever the clients do."""
        if self._listener:
            self._listener.close()

    def adopt(self, config_file: Path | None) -> None:
        """Take another web-config file from now on."""
        self._access.adopt(config_file)

    def _answer(self, request: Request) -> Response:
        response = self._access.refusal(request) or self._page(request)
        return replace(response, headers=(*self._access.headers, *response.headers))

    def _page(self, request: Request) -> Response:
        page = self._pages.get(request.path)
        if page is None:
            return Response(HTTPStatus.NOT_FOUND, b"no such page\n")
        if request.method not in {"GET", "HEAD"}:
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n", headers=(("Allow", "GET, HEAD"),))
        response = page(request)
        if len(response.body) < _GZIP_FROM or not _takes_gzip(request):
            return response
        return replace(
            response,
            body=igzip.compress(response.body, _GZIP_LEVEL, mtime=0),
            headers=(*response.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")),
        )


def _takes_gzip(request: Request) -> bool:
    for offer in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ShipkeeperError(
            f"cannot listen on {listen}: {error.strerror}{_by(error, port)}\n  cure: {_cure(error)}"
        ) from error
    return sock


def _by(error: OSError, port: str) -> str:
    named = holder(int(port)) if error.errno == errno.EADDRINUSE else ""
    return f" by {named}" if named else ""


def _cure(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "stop what listens there (ss -ltnp shows it), or set another address in [web] listen"
        case errno.EACCES:
            return "only root may take a port below 1024; set another one in [web] listen"
        case _:
            return "this host has no such address (ip address shows which it has); set one of those in [web] listen"
