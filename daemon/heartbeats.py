"""Which long-lived parts still work: each beats, and is stale when its deadline has passed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from daemon.clock import Clock


class Heartbeats:
    """The last beat of each named part; a part counts as having beaten when this is built."""

    def __init__(self, deadlines: Mapping[str, timedelta], clock: Clock) -> None:
        self._deadlines = dict(deadlines)
        self._clock = clock
        self._lock = threading.Lock()
        self._last = dict.fromkeys(deadlines, clock.monotonic())

    def beat(self, name: str) -> None:
        """Note that a part works; KeyError for one without a deadline."""
        if name not in self._deadlines:
            raise KeyError(name)
        with self._lock:
            self._last[name] = self._clock.monotonic()

    def ages(self) -> dict[str, float]:
        """Give how long ago each part last beat, in seconds."""
        with self._lock:
            now = self._clock.monotonic()
            return {name: now - last for name, last in self._last.items()}

    def stale(self) -> tuple[str, ...]:
        """Give the parts whose last beat is longer ago than their deadline."""
        with self._lock:
            now = self._clock.monotonic()
            return tuple(
                name for name, last in self._last.items() if now - last > self._deadlines[name].total_seconds()
            )
