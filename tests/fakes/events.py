"""A source of events without a stream: a test puts in what Docker would have sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collectors.engine_events import parse_event
from daemon.event_queue import CAPACITY, Batch, EventQueue

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeEvents:
    """The real queue; `put` takes an event as the scripted engine's `emit` gives it, `lose` is a gap in the stream."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.connected = True
        self._queue = EventQueue(capacity)

    def put(self, event: Mapping[str, Any]) -> None:
        """Deliver one event."""
        self._queue.put(parse_event(json.dumps(event).encode()))

    def put_unheard(self, other: FakeEvents) -> None:
        """Deliver what another one still holds, as Docker tells its newest events again."""
        for event in other.drain().events:
            self._queue.put(event)

    def lose(self) -> None:
        """Say that events may be missing, as after a reconnect."""
        self._queue.ask_resync()

    def drain(self) -> Batch:
        """Give what was put in."""
        return self._queue.drain()
