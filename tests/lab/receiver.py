"""A local HTTP server that keeps every request it gets and answers as a test tells it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a status with a body, `None` of it for a connection that just ends."""

    status: int | None = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0
    echoes: bool = False
    """True for one that shows the request, as pages of errors do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


class Receiver:
    """A context manager around one server on a port of the loopback; with `tls` it speaks HTTPS."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.answer = Answer()
        """What every request is answered with; a test may set another one at any time."""
        self._tls = tls
        self._requests: list[Request] = []
        self._news = Condition()
        self._closing = Event()
        self._server = _Server(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self._server.receiver = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="receiver")

    def __enter__(self) -> Self:
        self._server.server_bind()
        self._server.server_activate()
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, oldest first."""
        with self._news:
            return list(self._requests)

    def wait(self, enough: Callable[[Sequence[Request]], bool], seconds: float = 30.0) -> list[Request]:
        """Wait until the requests are `enough`. Raises `TimeoutError` that shows what came instead."""
        with self._news:
            if not self._news.wait_for(lambda: enough(self._requests), seconds):
                raise TimeoutError(f"waited {seconds:g} s; what came: {self._requests[-5:]}")
            return list(self._requests)

    def take(self, request: Request) -> Answer:
        """Keep a request, and give its answer; the server's threads call it."""
        with self._news:
            self._requests.append(request)
            self._news.notify_all()
            answer = self.answer
        self._closing.wait(answer.after_seconds)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    receiver: Receiver

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are kept."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.receiver.take(Request(self.command, self.path, dict(self.headers), body))
        if answer.status is None:
            return
        shown = f"Cannot {self.command} {self.path}\n{self.headers}".encode() if answer.echoes else answer.body
        with suppress(ConnectionError):
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(shown)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(shown)

    do_GET = do_POST  # noqa: N815  http.server looks for this name
