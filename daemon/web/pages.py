"""The pages: metrics, healthy, ready, and the landing page that leads to them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING

from collectors.families import CONTENT_TYPE
from daemon.web.exchange import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.web.exposition import Exposition

MAX_SCRAPES = 4
"""Scrapes at the same time; two Prometheus servers and a curious person."""

_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

_LANDING = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Shipkeeper on {host}</title>
<style>body{{font:16px/1.5 sans-serif;margin:3em auto;max-width:40em}}dt{{float:left;width:7em}}</style></head>
<body>
<h1>Shipkeeper on {host}</h1>
<dl>
<dt>Version</dt><dd>{version}</dd>
<dt>Mode</dt><dd>{mode}</dd>
<dt>Docker</dt><dd>{engine}</dd>
</dl>
<p><a href="/metrics">Metrics</a> · <a href="/-/healthy">Healthy</a> · <a href="/-/ready">Ready</a></p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the landing page says, each in plain words."""

    host: str
    version: str
    mode: str
    engine: str


class MetricsPage:
    """`/metrics`: the exposition of this moment, or 503 while too many scrapes are running."""

    def __init__(self, exposition: Exposition, max_scrapes: int = MAX_SCRAPES) -> None:
        self._exposition = exposition
        self._free = threading.Semaphore(max_scrapes)

    def __call__(self, _: Request) -> Response:
        """Collect and render."""
        if not self._free.acquire(blocking=False):
            return Response(
                HTTPStatus.SERVICE_UNAVAILABLE, b"too many scrapes at once\n", headers=(("Retry-After", "1"),)
            )
        try:
            return Response(HTTPStatus.OK, self._exposition.document(), CONTENT_TYPE)
        finally:
            self._free.release()


def healthy_page(_: Request) -> Response:
    """`/-/healthy`: this process answers."""
    return Response(HTTPStatus.OK, b"Shipkeeper is running.\n")


class ReadyPage:
    """`/-/ready`: 200 once `waiting_for` gives nothing to wait for, else 503 with its words."""

    def __init__(self, waiting_for: Callable[[], str]) -> None:
        self._waiting_for = waiting_for

    def __call__(self, _: Request) -> Response:
        """Ask now."""
        words = self._waiting_for()
        if words:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {words}\n".encode())
        return Response(HTTPStatus.OK, b"Shipkeeper is ready.\n")


class LandingPage:
    """`/`: who answers here, and where to go from here."""

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview

    def __call__(self, _: Request) -> Response:
        """Render the overview of this moment."""
        now = self._overview()
        page = _LANDING.format(
            host=escape(now.host), version=escape(now.version), mode=escape(now.mode), engine=escape(now.engine)
        )
        return Response(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", _HEADERS)
