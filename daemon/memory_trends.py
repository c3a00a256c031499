"""What containers used of memory in the last minutes, and how it rose."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collectors.own_facts import MemoryUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.clock import Clock
    from daemon.sampler import Sample

WINDOW: Final = timedelta(minutes=10)
_MOST: Final = 48
"""A reading every 15 s for ten minutes, and some to spare."""


class MemoryTrends:
    """Keeps ten minutes of readings, in memory only: after a start there is no trend yet. For the watch thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._readings: dict[str, deque[tuple[float, int]]] = {}
        self._largest: dict[str, tuple[str, int]] = {}

    def note(self, sample: Sample | None) -> None:
        """Take the readings of a new sample."""
        if sample is None:
            return
        now = self._clock.monotonic()
        for id_, used in sample.memory.items():
            if id_ in sample.largest:
                self._largest[id_] = sample.largest[id_]
            else:
                self._largest.pop(id_, None)
            self._readings.setdefault(id_, deque(maxlen=_MOST)).append((now, used))
        for id_, readings in list(self._readings.items()):
            while readings and now - readings[0][0] > WINDOW.total_seconds():
                readings.popleft()
            if not readings:
                del self._readings[id_]
                self._largest.pop(id_, None)

    def uses(self, sample: Sample | None) -> Mapping[str, MemoryUse]:
        """Give the use of all containers that this sample tells of, by id."""
        return {id_: use for id_ in (sample.memory if sample else ()) if (use := self.last(id_))}

    def last(self, container_id: str) -> MemoryUse | None:
        """Give the newest of the last ten minutes, of one that has ended too."""
        readings = self._readings.get(container_id)
        if not readings:
            return None
        (begun, before), (at, used) = readings[0], readings[-1]
        name, size = self._largest.get(container_id, ("", 0))
        return MemoryUse(
            used_bytes=used,
            rose_bytes=used - before,
            over=timedelta(seconds=at - begun) if begun != at else None,
            largest=name,
            largest_bytes=size,
        )
