"""When the wall clock was last set forward: dates from before then make things look older than they are."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon.clock import wall_ahead
from daemon.grace import CLOCK_STEP
from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from daemon.clock import Clock
    from daemon.store import Store

_KEY = "clock_steps"


class ClockSteps:
    """
    Used by one thread, which looks in every cycle. A step while we did not run is seen too, but for one across a boot.

    `watched` gives the running time of Shipkeeper in all: what is told in it cannot be set.
    """

    def __init__(self, store: Store, clock: Clock, watched: Callable[[], timedelta]) -> None:
        self._clock = clock
        self._watched = watched
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
        saved: dict[str, Any] = next(readable(rows, lambda row: dict(json.loads(row["value"]))), {})
        same_boot = saved.get("boot") == clock.boot_id()
        self._ahead = timedelta(seconds=saved["ahead"]) if same_boot else wall_ahead(clock)
        self._set_at: float | None = saved.get("set_at")

    @property
    def set_ago(self) -> timedelta | None:
        """How much we have watched since it was last set forward; `None` if we never saw that."""
        if self._set_at is None:
            return None
        return max(self._watched() - timedelta(seconds=self._set_at), timedelta(0))

    def look(self) -> None:
        """Compare the wall clock with the monotonic one."""
        ahead = wall_ahead(self._clock)
        step = ahead - self._ahead
        if abs(step) > CLOCK_STEP:
            self._ahead = ahead
            if step > timedelta(0):
                self._set_at = self._watched().total_seconds()

    def save(self, connection: sqlite3.Connection) -> None:
        """Store it, inside the caller's transaction."""
        value = {"boot": self._clock.boot_id(), "ahead": self._ahead.total_seconds(), "set_at": self._set_at}
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, json.dumps(value)))
