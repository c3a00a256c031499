"""How the use of each filesystem went in the last hours, and the growth that follows from it."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from policies import growth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from collectors.facts import Filesystem
    from daemon.clock import Clock
    from daemon.sampler import Sample

_Identity: TypeAlias = tuple[int, str]
_MOST_POINTS = 400
"""A point a minute for six hours, and some to spare."""


class Trends:
    """
    Keeps a point a minute of every filesystem, in memory only: after a start there is no growth for half an hour.

    `sample` gives the newest sample, `None` when there is none. `note` belongs to one thread.
    """

    def __init__(self, sample: Callable[[], Sample | None], clock: Clock) -> None:
        self._sample = sample
        self._clock = clock
        self._noted: datetime | None = None
        self._points: dict[_Identity, deque[growth.Point]] = {}
        self._rates: Mapping[_Identity, float] = MappingProxyType({})

    def note(self) -> None:
        """Take a point of every filesystem, and work out its growth anew."""
        sample = self._sample()
        if sample is None or sample.at == self._noted:
            return
        self._noted = sample.at
        now = self._clock.monotonic()
        for each in sample.filesystems:
            self._points.setdefault(_identity(each), deque(maxlen=_MOST_POINTS)).append((now, each.used_bytes))
        for identity, points in list(self._points.items()):
            while points and now - points[0][0] > growth.WINDOW.total_seconds():
                points.popleft()
            if not points:
                del self._points[identity]
        rates = {identity: growth.bytes_per_second(list(points)) for identity, points in self._points.items()}
        self._rates = MappingProxyType({identity: rate for identity, rate in rates.items() if rate is not None})

    def rate(self, filesystem: Filesystem) -> float | None:
        """Give its growth in bytes per second, from any thread; `None` while it is not known."""
        return self._rates.get(_identity(filesystem))


def _identity(filesystem: Filesystem) -> _Identity:
    return filesystem.device, filesystem.mountpoint
