"""Hands events from the thread that reads them to the thread that acts on them, within bounds."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collectors.engine_events import Event

CAPACITY: Final = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What came since the last time.

    `resync` says that events may be missing: compare with what the engine lists. `dropped` tells how many did not
    fit.
    """

    events: tuple[Event, ...]
    resync: bool
    dropped: int = 0


class EventQueue:
    """A bounded queue of events. What does not fit is dropped and counted, and asks for a resync."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._resync = False
        self._full = 0
        self._dropped = 0
        self._overflows = 0

    @property
    def dropped(self) -> int:
        """How many events did not fit, ever."""
        return self._dropped

    @property
    def overflows(self) -> int:
        """How often the queue ran full, ever; all that is dropped until the next drain is one overflow."""
        return self._overflows

    def put(self, event: Event) -> None:
        """Add an event; never waits."""
        with self._lock:
            if len(self._events) < self._capacity:
                self._events.append(event)
                return
            self._overflows += not self._full
            self._dropped += 1
            self._full += 1
            self._resync = True

    def ask_resync(self) -> None:
        """Mark that events may be missing."""
        with self._lock:
            self._resync = True

    def drain(self) -> Batch:
        """Take everything out, oldest first; never waits."""
        with self._lock:
            batch = Batch(tuple(self._events), self._resync, self._full)
            self._events, self._resync, self._full = [], False, 0
            return batch
