"""How long nothing may be removed by itself: after a start, an outage of the engine, a step of the clock."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import EngineState
from daemon.clock import wall_ahead
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.clock import Clock
    from daemon.lookout import EngineView

log = logging.getLogger(__name__)

CLOCK_STEP = timedelta(minutes=5)
"""Wall and monotonic time may drift apart so far before ages read off the wall are not believed for a while."""


class Grace:
    """Looked at by one thread every few seconds; `lasts` is asked anew each time, for it can be reloaded."""

    def __init__(self, clock: Clock, engine: EngineView, lasts: Callable[[], timedelta]) -> None:
        self._clock = clock
        self._engine = engine
        self._lasts = lasts
        self._since = clock.monotonic()
        self._why = "Shipkeeper has just started"
        self._outages = engine.outages
        self._ahead = wall_ahead(clock)

    def look(self) -> None:
        """Begin the time of grace anew if something happened since the last look."""
        ahead = wall_ahead(self._clock)
        if abs(ahead - self._ahead) > CLOCK_STEP:
            self._ahead = ahead
            self._begin("the clock was set")
            log.warning("the clock was set: nothing is removed by itself for %s", words.duration(self._lasts()))
        if self._engine.engine.state is not EngineState.UP or self._engine.outages != self._outages:
            self._outages = self._engine.outages
            self._begin("the engine was away")

    def holds(self) -> str:
        """Say why nothing may be removed by itself, and for how long; empty once it may."""
        left = self._lasts() - timedelta(seconds=self._clock.monotonic() - self._since)
        return f"{self._why}: another {words.duration(left)} of [cleanup] grace" if left > timedelta(0) else ""

    def _begin(self, why: str) -> None:
        self._since, self._why = self._clock.monotonic(), why
