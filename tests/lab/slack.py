"""A local Slack: takes what an incoming webhook takes, remembers it, and fails in the ways that Slack fails."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_WEBHOOK = "/services/T00000000/B00000000/notasecret"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


@dataclass(frozen=True, slots=True)
class Reply:
    """What the fake answers: a status with a body, after a delay; or, with `reset`, no answer at all."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    reset: bool = False


OK = Reply()
SERVER_ERROR = Reply(500, b"server_error")
HTML = Reply(503, b"<!DOCTYPE html><html><body>Something went wrong</body></html>", {"Content-Type": "text/html"})
RESET = Reply(reset=True)
_NO_SERVICE = Reply(404, b"no_service")
_INVALID_PAYLOAD = Reply(400, b"invalid_payload")


def rate_limited(seconds: int) -> Reply:
    """Give a 429 that asks to come again after so many seconds."""
    return Reply(429, b"rate_limited", {"Retry-After": str(seconds)})


def slow(seconds: float) -> Reply:
    """Give a good answer that comes late."""
    return Reply(delay_seconds=seconds)


@dataclass(frozen=True, slots=True)
class Post:
    """One request: when its last byte came (Unix nanoseconds), what it said, what was answered."""

    arrived_ns: int
    payload: Mapping[str, Any]
    reply: Reply


class FakeSlack:
    """
    A context manager around one HTTP server on a free port of the loopback.

    `webhook_url` goes into the configuration under test. Requests are answered `ok` unless `fail` says otherwise.
    """

    def __init__(self) -> None:
        self._posts: list[Post] = []
        self._faults: deque[Reply] = deque()
        self._standing = OK
        self._changed = Condition()
        self._closing = Event()
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        self._server = _Server(self._answer, self._closing)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="fake-slack")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def webhook_url(self) -> str:
        """The address of the incoming webhook."""
        assert self._server is not None, "enter the fake Slack's context first"
        return f"http://127.0.0.1:{self._server.server_port}{_WEBHOOK}"

    @property
    def posts(self) -> list[Post]:
        """Every request to the webhook so far, oldest first."""
        with self._changed:
            return list(self._posts)

    @property
    def delivered(self) -> list[Mapping[str, Any]]:
        """The payloads that were answered with success: what people would see in Slack."""
        return [post.payload for post in self.posts if post.reply.status < 300 and not post.reply.reset]

    def fail(self, *replies: Reply) -> None:
        """Answer the next requests with these, one each, then as before."""
        with self._changed:
            self._faults.extend(replies)

    def fail_always(self, reply: Reply) -> None:
        """Answer every request with this one until `heal`."""
        with self._changed:
            self._standing = reply

    def heal(self) -> None:
        """Answer `ok` from now on."""
        with self._changed:
            self._faults.clear()
            self._standing = OK

    def clear(self) -> None:
        """Forget all requests, and heal."""
        self.heal()
        with self._changed:
            self._posts.clear()

    def wait(self, enough: Callable[[Sequence[Post]], bool], timeout: float = 10.0) -> list[Post]:
        """Wait until the requests are `enough` and give them. Raises `TimeoutError` that shows what came instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: enough(self._posts), timeout):
                came = [(post.reply.status, dict(post.payload)) for post in self._posts]
                raise TimeoutError(f"waited {timeout:g} s for Slack; what came: {came}")
            return list(self._posts)

    def close(self) -> None:
        """Stop answering and free the port; harmless when repeated."""
        if self._server is None or self._thread is None:
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def _answer(self, path: str, body: bytes, arrived_ns: int) -> Reply:
        """Record one request and choose its answer."""
        if path != _WEBHOOK:
            return _NO_SERVICE
        try:
            payload = json.loads(body)
        except ValueError:
            return _INVALID_PAYLOAD
        if not isinstance(payload, dict):
            return _INVALID_PAYLOAD
        with self._changed:
            reply = self._faults.popleft() if self._faults else self._standing
            self._posts.append(Post(arrived_ns, payload, reply))
            self._changed.notify_all()
        return reply


class _Server(ThreadingHTTPServer):
    """A server whose open connections end with it, so that no thread and no socket stays."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, answer: Callable[[str, bytes, int], Reply], closing: Event) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.closing = closing
        self._open: set[socket.socket] = set()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: Any) -> None:
        """Let a client go that did not wait for its answer; anything else is a fault of the fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def server_close(self) -> None:
        for connection in list(self._open):  # a client that keeps its connection alive would hold a thread for ever
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are recorded."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.answer(self.path, body, time.time_ns())
        if reply.delay_seconds:
            self.server.closing.wait(reply.delay_seconds)
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            os.close(self.connection.detach())  # at once; the server would say goodbye first
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "text/plain", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
