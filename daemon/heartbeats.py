"""Which long-lived parts still work: each beats, and is stale when its deadline has passed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from daemon.clock import Clock


class Heartbeats:
    """
    The last beat of each part, from its first one until it leaves; all methods may be called from any thread.

    A part is named by the row of its deadline, with what tells it from others of that kind behind a hyphen:
    `sender-slack` has the deadline of `sender`.
    """

    def __init__(self, deadlines: Mapping[str, timedelta], clock: Clock) -> None:
        self._deadlines = deadlines
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """Note that a part works; KeyError for one without a deadline."""
        self._deadline(name)
        with self._lock:
            self._last[name] = self._clock.monotonic()

    def ages(self) -> dict[str, tuple[float, float]]:
        """Give how long ago each part last beat and how long ago that may be, in seconds."""
        with self._lock:
            now = self._clock.monotonic()
            return {name: (now - last, self._deadline(name)) for name, last in self._last.items()}

    def leave(self, name: str) -> None:
        """Expect no more beats of a part."""
        with self._lock:
            self._last.pop(name, None)

    def stale(self) -> tuple[str, ...]:
        """Give the parts whose last beat is longer ago than their deadline."""
        with self._lock:
            now = self._clock.monotonic()
            return tuple(name for name, last in self._last.items() if now - last > self._deadline(name))

    def _deadline(self, name: str) -> float:
        return self._deadlines[name.partition("-")[0]].total_seconds()
