"""Spaces the cycles of the watch thread while something wakes it again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from daemon.clock import Clock

SHARE: Final = 0.2
"""Of one core, under lasting load, that cycles may take."""
CREDIT_SECONDS: Final = 0.5
"""So much work may be done in one go after a calm: a dozen cycles of a small host, one after the other."""
LONGEST_REST_SECONDS: Final = 2.0
"""Nobody waits longer, however long a cycle took."""


class Pace:
    """
    A budget of processor time, for one thread.

    It fills by a fifth of the time that passes, and every cycle takes out of it what it used: to wait for Docker or
    for the disk costs nothing, and the slower these are, the less may news wait for anything else. While something is
    left the next cycle begins at once, so the first news after a calm never waits. An empty one has to fill first:
    that takes four times as long as a cycle.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._credit = CREDIT_SECONDS
        self._at = clock.monotonic()

    def rest_seconds(self) -> float:
        """Give how long to wait before the next cycle; 0 while there is budget."""
        self._fill()
        return max(0.0, -self._credit / SHARE)

    def worked(self, seconds: float) -> None:
        """Take a cycle that used so much of the processor out of the budget."""
        self._fill()
        self._credit = max(self._credit - seconds, -SHARE * LONGEST_REST_SECONDS)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._credit = min(self._credit + SHARE * (now - self._at), CREDIT_SECONDS)
        self._at = now
