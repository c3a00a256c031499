"""The last lines out of Docker's log stream, in either of its two framings."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from collectors.engine_http import pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import requests

_HEADER: Final = struct.Struct(">BxxxL")
_STREAMS: Final = frozenset({0, 1, 2})
READ_LIMIT: Final = 8 << 20
"""Drivers store lines of up to 16 KiB, but other engines may not: more than this is not read."""


def read_log_tail(
    response: requests.Response, lines: int, max_bytes: int, host: str, read_limit: int = READ_LIMIT
) -> tuple[str, ...]:
    """Read the answer of `GET /containers/{id}/logs` and close it; raises EngineUnavailable if it breaks off."""
    with pieces(response, host) as chunks:
        text = tail_bytes(chunks, max_bytes, read_limit).decode(errors="replace")
    return tuple(line.rstrip("\r") for line in text.split("\n") if line.strip())[-lines:]


def tail_bytes(chunks: Iterable[bytes], max_bytes: int, read_limit: int = READ_LIMIT) -> bytes:
    """Give the last bytes of what was written, without the frames around it."""
    tail = bytearray()
    for part in _payloads(_limited(chunks, read_limit)):
        tail += part
        del tail[:-max_bytes]
    return bytes(tail)


def _limited(chunks: Iterable[bytes], read_limit: int) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        yield chunk
        seen += len(chunk)
        if seen > read_limit:
            return


def _payloads(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """
    Take the frames off.

    A container without a terminal sends frames of a stream number, three zeros, a length and the payload; one
    with a terminal sends its bytes as they are. Only from API 1.42 does the answer's type tell which it is,
    but no terminal writes a first frame's header by chance.
    """
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        if len(pending) >= _HEADER.size:
            break
    if not _framed(pending):
        yield bytes(pending)
        yield from chunks
        return
    while True:
        while len(pending) >= _HEADER.size:
            _, length = _HEADER.unpack_from(pending)
            end = _HEADER.size + length
            if len(pending) < end:
                break
            yield bytes(pending[_HEADER.size : end])
            del pending[:end]
        chunk = next(chunks, b"")
        if not chunk:
            yield bytes(pending[_HEADER.size :])
            return
        pending += chunk


def _framed(head: bytearray) -> bool:
    return len(head) >= _HEADER.size and head[0] in _STREAMS and not any(head[1:4])
