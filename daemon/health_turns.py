"""How often the health of each container turned lately."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collectors.facts import HealthStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collectors.facts import Container
    from daemon.clock import Clock

WINDOW: Final = timedelta(minutes=30)
_SETTLED: Final = frozenset({HealthStatus.HEALTHY, HealthStatus.UNHEALTHY})
_MOST: Final = 100


class HealthTurns:
    """
    Counts turns from healthy to unhealthy and back, by identity; stops, pauses and first probes are none.

    In memory only: nothing is called stable before it was watched for the whole window. For the watch thread alone.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.monotonic()
        self._last: dict[str, HealthStatus] = {}
        self._turns: dict[str, deque[float]] = {}
        self._unhealthy: dict[str, float] = {}

    def look(self, containers: Iterable[Container]) -> None:
        """Compare with the last look; what is gone is forgotten when its turns are too old."""
        now, unhealthy = self._clock.monotonic(), self._unhealthy
        self._unhealthy = {}
        for container in containers:
            status = container.probed
            if status not in _SETTLED:
                continue
            key = container.subject.key
            if status is HealthStatus.UNHEALTHY:
                self._unhealthy[key] = unhealthy.get(key, now)
            if self._last.get(key, status) is not status:
                self._turns.setdefault(key, deque(maxlen=_MOST)).append(now)
            self._last[key] = status
        for key, turns in list(self._turns.items()):
            while turns and now - turns[0] > WINDOW.total_seconds():
                turns.popleft()
            if not turns:
                del self._turns[key]

    def forget_all_but(self, keys: frozenset[str]) -> None:
        """Let go of identities that are neither there nor turned lately."""
        for key in self._last.keys() - keys - self._turns.keys():
            del self._last[key]

    def counts(self) -> Mapping[str, int]:
        """Give the turns of the window by the container's key; those without any are left out."""
        return {key: len(turns) for key, turns in self._turns.items()}

    def unhealthy_for(self) -> Mapping[str, timedelta]:
        """Give how long each has been unhealthy at a stretch, by the container's key."""
        now = self._clock.monotonic()
        return {key: timedelta(seconds=now - since) for key, since in self._unhealthy.items()}

    @property
    def settled(self) -> bool:
        """True once the whole window was watched."""
        return self._clock.monotonic() - self._begun >= WINDOW.total_seconds()
