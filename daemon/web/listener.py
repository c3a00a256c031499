"""Answers HTTP on one listening socket: Tornado's server in a thread of its own, each connection within a deadline."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError

from daemon.errors import ShipkeeperError
from daemon.web.exchange import Peer, Request, Response
from daemon.web.lag import LoopLag

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tornado.iostream import IOStream

    from daemon.crew import Crew
    from daemon.web.exchange import Answer

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Open connections; one more and the oldest has to go, so silent clients cannot lock a scrape out."""
HEAD_LIMIT = 16 * 1024
"""Bytes that a request's head may have; far beyond what Prometheus, curl or a browser send."""
MAX_ANSWERS = 8
"""Answers that are worked out at the same time; one more waits."""

_CLOSING = timedelta(seconds=1.5)
_BEAT_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_INTERNAL_ERROR = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error; the log tells more\n")
_TOO_LARGE = Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"no body of this size is taken here\n")


class Listener:
    """
    Serves `answer` on a bound stream socket, TCP or Unix, which it owns from then on.

    One request per connection. A connection is cut `deadline` seconds after it was accepted, whatever it does:
    stays silent (also in a TLS handshake), dribbles its header or does not read. Each answer is worked out in a
    thread; one that hangs does not keep the process from ending. `tls` is asked for each connection, in the loop.
    """

    def __init__(  # noqa: PLR0913  each is a limit or a name of one socket
        self,
        sock: socket.socket,
        answer: Answer,
        *,
        name: str,
        body_limit: int = 0,
        crew: Crew,
        deadline: float = 10.0,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._answer = answer
        self._name = name
        self.lag = LoopLag()
        self._body_limit = body_limit
        self._deadline = deadline
        self._tls = tls
        self._exchanges: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks only weakly
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._listening = threading.Event()
        self._worker = crew.worker(name, lambda: asyncio.run(self._serve()))

    def start(self) -> None:
        """Listen and answer from now on; ShipkeeperError if the thread died too often to be begun again."""
        self._sock.listen()
        self._sock.settimeout(0)
        self._worker.start()
        while not self._listening.wait(_LOOK_SECONDS):
            if not self._worker.alive:
                raise ShipkeeperError(f"the thread {self._name} does not come to life; the log says why")

    def stop(self) -> None:
        """Ask the thread to stop listening and to cut what is open; never waits."""
        self._worker.stop()
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)

    def close(self) -> None:
        """Stop listening; returns within 2 s whatever the clients do."""
        self.stop()
        self._worker.join(_CLOSING)
        self._sock.close()

    async def _serve(self) -> None:
        # The loop and what belongs to it are made here: the thread may be begun again, then with another loop.
        self._loop = asyncio.get_running_loop()
        self.lag.watch(self._loop)
        self._stop = asyncio.Event()
        self._free = asyncio.Semaphore(MAX_ANSWERS)
        server = _Server(
            self._receive,
            no_keep_alive=True,
            idle_connection_timeout=self._deadline,
            body_timeout=self._deadline,
            max_header_size=HEAD_LIMIT,
            max_body_size=max(self._body_limit, 1),  # 0 would mean Tornado's default
        )
        server.limit(self._deadline, self._tls)
        server.add_socket(self._sock.dup())
        self._listening.set()
        try:
            while not self._worker.stopping.is_set():
                self._worker.beat()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _BEAT_SECONDS)
        finally:
            server.stop()
            server.cut_all()

    def _receive(self, raw: HTTPServerRequest) -> None:
        exchange = asyncio.get_running_loop().create_task(self._exchange(raw))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)

    async def _exchange(self, raw: HTTPServerRequest) -> None:
        try:
            request = _request(raw)  # whatever is wrong with it is to come out before it has a turn
            async with asyncio.timeout(self._deadline):
                await self._free.acquire()
            await _send(raw, await self._worked_out(request))
        except (StreamClosedError, TimeoutError):
            log.debug("%s: a client left before its answer", self._name)

    async def _worked_out(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()

        def settle(response: Response) -> None:
            self._free.release()
            if not answered.done():
                answered.set_result(response)

        def work() -> None:
            response = self._respond(request)
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits for the answer
                loop.call_soon_threadsafe(settle, response)

        # Not an executor: its threads are joined when the interpreter ends, and an answer may hang for ever.
        try:
            threading.Thread(target=work, name=f"{self._name}-answer", daemon=True).start()
        except RuntimeError as error:  # no more threads are to be had just now
            log.error("%s: %r %r failed: %s", self._name, request.method, request.path, error)  # noqa: TRY400  it says all
            settle(_INTERNAL_ERROR)
        return await answered

    def _respond(self, request: Request) -> Response:
        if len(request.body) > self._body_limit:
            return _TOO_LARGE
        try:
            return self._answer(request)
        except Exception:  # the boundary of one request: its client gets a 500, the others do not notice
            log.exception("%s: %r %r failed", self._name, request.method, request.path)
            return _INTERNAL_ERROR


class _Server(HTTPServer):
    """Tornado's server with a lifetime and a TLS for every connection, and a bound on their number."""

    def limit(self, deadline: float, tls: Callable[[], ssl.SSLContext | None]) -> None:
        """Set the lifetime in seconds, and where the TLS of a connection is asked for."""
        self._deadline = deadline
        self._tls = tls
        self._streams: dict[IOStream, None] = {}  # oldest first

    def _handle_connection(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Take a connection, with the certificate of this moment: Tornado itself keeps to the one of its start."""
        self.ssl_options = self._tls()
        super()._handle_connection(connection, address)

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Admit a connection, at the cost of the oldest if there are too many."""
        self._streams = {open_stream: None for open_stream in self._streams if not open_stream.closed()}
        if len(self._streams) >= MAX_CONNECTIONS:
            next(iter(self._streams)).close()
        self._streams[stream] = None
        asyncio.get_running_loop().call_later(self._deadline, stream.close)
        super().handle_stream(stream, address)

    def cut_all(self) -> None:
        """Cut every open connection."""
        for stream in self._streams:
            stream.close()


def _request(raw: HTTPServerRequest) -> Request:
    return Request(
        method=raw.method or "",
        path=unquote(raw.path),
        query=dict(parse_qsl(raw.query)),
        headers=raw.headers,
        body=raw.body,
        peer=_peer(raw),
    )


def _peer(raw: HTTPServerRequest) -> Peer | None:
    connection = raw.connection
    if not isinstance(connection, HTTP1Connection):
        return None
    client: socket.socket | None = connection.stream.socket
    if client is None:
        raise StreamClosedError  # cut, or gone by itself, since it asked
    if client.family != socket.AF_UNIX:
        return None
    return Peer.of(client)


async def _send(raw: HTTPServerRequest, response: Response) -> None:
    headers = HTTPHeaders({"Content-Type": response.content_type, "Content-Length": str(len(response.body))})
    for name, value in (*response.headers, ("Connection", "close")):
        headers.add(name, value)
    connection = raw.connection
    if connection is None:
        return
    start = ResponseStartLine("HTTP/1.1", response.status, HTTPStatus(response.status).phrase)
    body = b"" if raw.method == "HEAD" else response.body
    await connection.write_headers(start, headers, body)
    connection.finish()
