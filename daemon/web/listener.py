"""Answers HTTP on one listening socket, each connection in a thread and within a deadline of its own."""

from __future__ import annotations

import io
import logging
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.web.exchange import HEAD_LIMIT, LimitedStream, Peer, RefusedError, Response, encode, read_request

if TYPE_CHECKING:
    from daemon.web.exchange import Answer

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Open connections; one more and the oldest has to go, so silent clients cannot lock a scrape out."""

_CLOSE_DEADLINE = 1.5
_ACCEPT_RETRY = 0.2
_PEER_CREDENTIALS = struct.Struct("3i")
_INTERNAL_ERROR = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error; the log tells more\n")


class Listener:
    """
    Serves `answer` on a bound stream socket, TCP or Unix, which it owns from then on.

    One request per connection. A connection is cut `deadline` seconds after it was accepted, whatever it does:
    stays silent, dribbles its header or does not read. Over TLS hand in a listening `SSLSocket` made with
    `do_handshake_on_connect=False`: the handshake then falls into the connection's own thread and deadline.
    """

    def __init__(
        self, sock: socket.socket, answer: Answer, *, name: str, body_limit: int = 0, deadline: float = 10.0
    ) -> None:
        self._sock = sock
        self._waker, self._wake_up = socket.socketpair()
        self._answer = answer
        self._name = name
        self._body_limit = body_limit
        self._deadline = deadline
        self._changed = threading.Condition()
        self._open: dict[socket.socket, float] = {}  # to the monotonic time of the cut, oldest first
        self._running = 0
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)

    def start(self) -> None:
        """Listen and answer from now on."""
        self._sock.settimeout(0)  # a client may be gone again before it is accepted
        self._sock.listen()
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open; returns within 2 s whatever the clients do."""
        with self._changed:
            self._closing = True
            self._waker.send(b".")
            for client in self._open:
                _cut(client)
            self._changed.wait_for(lambda: self._running == 0, _CLOSE_DEADLINE)
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_DEADLINE)
        for sock in (self._sock, self._waker, self._wake_up):
            sock.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._sock, selectors.EVENT_READ)
            ready.register(self._wake_up, selectors.EVENT_READ)
            while not self._closing:
                ready.select(self._cut_what_is_late())
                self._accept_one()

    def _accept_one(self) -> None:
        try:
            client, _ = self._sock.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._wait_after(error)
        else:
            self._admit(client)

    def _wait_after(self, error: OSError) -> None:
        # Out of file descriptors, mostly: the waiting client would make accept fail again at once.
        with self._changed:
            if not self._closing:
                log.warning("%s: cannot accept a connection: %s", self._name, error)
                self._changed.wait_for(lambda: self._closing, _ACCEPT_RETRY)

    def _cut_what_is_late(self) -> float | None:
        """Give the seconds until the next connection is late, or None while none is open."""
        with self._changed:
            now = time.monotonic()
            for client in [client for client, due in self._open.items() if due <= now]:
                self._drop(client)
            return min((due - now for due in self._open.values()), default=None)

    def _admit(self, client: socket.socket) -> None:
        client.settimeout(None)  # the cut ends every wait
        with self._changed:
            if self._closing:
                client.close()
                return
            if len(self._open) >= MAX_CONNECTIONS:
                self._drop(next(iter(self._open)))
            self._open[client] = time.monotonic() + self._deadline
            self._running += 1
        threading.Thread(target=self._serve, args=(client,), name=f"{self._name}-client", daemon=True).start()

    def _drop(self, client: socket.socket) -> None:
        del self._open[client]
        _cut(client)

    def _serve(self, client: socket.socket) -> None:
        try:
            # A client that went away or was cut is no news.
            with suppress(OSError):
                self._exchange(client)
        finally:
            with self._changed:
                self._open.pop(client, None)
                client.close()
                self._running -= 1
                self._changed.notify_all()

    def _exchange(self, client: socket.socket) -> None:
        stream = io.BufferedReader(LimitedStream(client, HEAD_LIMIT + self._body_limit))
        try:
            request = read_request(stream, self._body_limit, _peer(client))
        except RefusedError as refused:
            client.sendall(encode(refused.response))
            _drain(client)
            return
        try:
            response = self._answer(request)
        except Exception:  # the boundary of one request: its client gets a 500, the others do not notice
            log.exception("%s: %r %r failed", self._name, request.method, request.path)
            response = _INTERNAL_ERROR
        client.sendall(encode(response, with_body=request.method != "HEAD"))


def _cut(sock: socket.socket) -> None:
    # Not `sock.shutdown`: an SSLSocket's would pull its state away from under the thread that reads.
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _drain(client: socket.socket) -> None:
    # Closing with unread bytes makes the kernel reset the connection, and the client would not see the answer.
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass


def _peer(client: socket.socket) -> Peer | None:
    if client.family != socket.AF_UNIX:
        return None
    return Peer(
        *_PEER_CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size))
    )
