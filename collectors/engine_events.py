"""Docker's event stream, read line by line until it ends."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import urllib3

from collectors.engine_errors import EngineProtocolError
from collectors.json_fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

log = logging.getLogger(__name__)

EVENT_TYPES: Final = ("container", "image", "network", "volume", "builder", "daemon")
_CHUNK: Final = 65_536
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event: a hint that something happened, never the truth about it.

    `attributes` come with the container's labels laid over them, so a label named `exitCode` hides the real
    one. The command line after `exec_create:` is cut off `action`: it may hold secrets.
    """

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    time_nano: int

    @property
    def at(self) -> datetime:
        """The time that the engine gave it, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.time_nano // 1000)

    @property
    def container_id(self) -> str:
        """
        The container that it is about, or an empty string.

        A network's connect and disconnect name it in their attributes; for a failed start, the disconnect is
        the only event there is.
        """
        if self.type == "container":
            return self.id
        return self.attributes.get("container", "") if self.type == "network" else ""

    @property
    def identity(self) -> tuple[int, str, str, str]:
        """What makes it the same event when a stream replays it."""
        return self.time_nano, self.type, self.action, self.id


def parse_event(line: bytes) -> Event:
    """Read one line of the stream; raises EngineProtocolError when it is no event."""
    try:
        document: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EngineProtocolError("event", "is not JSON") from error
    item = Fields(document, "event")
    actor = item.child("Actor")
    action, time_nano = item.text("Action"), item.number("timeNano")
    if not action:
        raise item.wrong("Action", "is missing")
    if not 0 < time_nano < 1 << 63:
        raise item.wrong("timeNano", "is missing or out of range")
    if action.startswith("exec_"):
        action = action.partition(":")[0]
    return Event(item.text("Type"), action, actor.text("ID"), actor.labels("Attributes"), time_nano)


class StreamEnd(StrEnum):
    """Why a stream gave no more events."""

    OPEN = "open"
    """It has not ended."""
    CLOSED = "closed"
    """We closed it."""
    EOF = "eof"
    """The other side closed it: the engine went away, or a proxy cut it."""
    QUIET = "quiet"
    """Nothing came for as long as the read timeout: open it again, to learn whether anybody is still there."""


class EventStream:
    """
    An open stream: iterate over it in one thread, `close()` it from any.

    Use it as a context manager: leaving it frees the connection.
    """

    def __init__(self, response: requests.Response, release: Callable[[], None]) -> None:
        self._response = response
        self._release = release
        self._closed = False
        self.end = StreamEnd.OPEN
        self.unreadable = 0
        """Lines that were no events; half a line at the end is one too."""

    def __enter__(self) -> EventStream:  # noqa: PYI034  it has no subclasses
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._release()

    def __iter__(self) -> Iterator[Event]:
        pending = b""
        while chunk := self._read():
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield from self._parse(line)
        yield from self._parse(pending)

    def close(self) -> None:
        """End the iteration, also while another thread waits in it. May be called more than once."""
        self._closed = True
        try:
            # Only the socket is shut: whoever reads wakes, and frees the rest in its own thread.
            self._response.raw.shutdown()
        except (OSError, ValueError, RuntimeError) as error:  # it ended by itself a moment before
            log.debug("event stream was already closed: %s", error)

    def _parse(self, line: bytes) -> Iterator[Event]:
        if not line.strip():
            return
        try:
            yield parse_event(line)
        except EngineProtocolError as error:
            # Skipped, not fatal: the engine replays recent events on every reconnect, this one too.
            self.unreadable += 1
            log.warning("an event of Docker was left out: %s", error)

    def _read(self) -> bytes:
        """Wait for the next bytes; empty at the end, whose cause is then in `end`."""
        try:
            chunk: bytes = self._response.raw.read1(_CHUNK)
        except urllib3.exceptions.ReadTimeoutError:
            self.end = StreamEnd.CLOSED if self._closed else StreamEnd.QUIET
            return b""
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            log.debug("event stream broke: %s", error)
            chunk = b""
        if not chunk:
            self.end = StreamEnd.CLOSED if self._closed else StreamEnd.EOF
        return chunk or b""
