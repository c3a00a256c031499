"""One HTTP exchange: a request read from a stream, a response as bytes."""

from __future__ import annotations

import http.client
import io
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

HEAD_LIMIT = 16 * 1024
"""Bytes that a request line with its headers may have; far beyond what Prometheus, curl or a browser send."""

PLAIN_TEXT = "text/plain; charset=utf-8"

_REQUEST_LINE_WORDS = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel names it."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request, read in full.

    `path` is decoded and without the query; `headers.get` ignores case. `peer` is `None` over TCP.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: http.client.HTTPMessage
    body: bytes = b""
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back; the length, the encoding of the body apart, and `Connection: close` are added."""

    status: int
    body: bytes
    content_type: str = PLAIN_TEXT
    headers: tuple[tuple[str, str], ...] = ()


Answer: TypeAlias = "Callable[[Request], Response]"


class RefusedError(Exception):
    """A request that is not served: the response to send instead."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.response = Response(status, f"{words}\n".encode())


class LimitedStream(io.RawIOBase):
    """The first `limit` bytes of a socket, read as a raw stream; asking for more raises RefusedError 431."""

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self._sock = sock
        self._left = limit

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # BufferedReader hands in these
        """Receive into `buffer` and give the number of bytes, 0 at the end."""
        if self._left <= 0:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")
        count = self._sock.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def read_request(stream: BinaryIO, body_limit: int, peer: Peer | None = None) -> Request:
    """Read one request; RefusedError tells why there is none. OSError comes from the stream."""
    words = stream.readline(HEAD_LIMIT).decode("latin-1").split()
    if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith("HTTP/1."):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1 request")
    try:
        target = urlsplit(words[1])
        headers = http.client.parse_headers(stream)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the request target cannot be read") from error
    except http.client.HTTPException as error:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large") from error
    return Request(
        method=words[0],
        path=unquote(target.path),
        query=dict(parse_qsl(target.query)),
        headers=headers,
        body=_read_body(stream, headers, body_limit),
        peer=peer,
    )


def _read_body(stream: BinaryIO, headers: http.client.HTTPMessage, limit: int) -> bytes:
    if headers.get("Transfer-Encoding") is not None:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "a body needs a Content-Length")
    text = headers.get("Content-Length", "0").strip()
    if not (text.isascii() and text.isdecimal()):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
    if len(text) > len(str(limit)) or int(text) > limit:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {limit} bytes is taken here")
    length = int(text)
    body = stream.read(length)
    if len(body) < length:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ended early")
    return body


def encode(response: Response, *, with_body: bool = True) -> bytes:
    """Give the response as it goes over the wire; without its body for a HEAD request."""
    status = HTTPStatus(response.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + response.body if with_body else head
