"""The time that the state is dated by: it goes on as the wall clock does, but nobody can set it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3

    from daemon.clock import Clock
    from daemon.store import Store

_KEY = "steady"


class SteadyClock:
    """
    A `Clock` whose `now` is the wall clock's of the first start, moved on by the monotonic clock alone.

    It lags behind the wall clock, or is ahead of it, by as much as that was ever set. So it is for ages and due
    times in the store, and what people read is converted. Any thread may ask.
    """

    def __init__(self, clock: Clock, now: datetime) -> None:
        """Begin at `now`."""
        self._clock = clock
        self._base = now.timestamp() - clock.monotonic()

    def now(self) -> datetime:
        """Give the steady time."""
        return datetime.fromtimestamp(self._base + self._clock.monotonic(), UTC)

    def monotonic(self) -> float:
        """Give seconds that never go back within one boot."""
        return self._clock.monotonic()

    def boot_id(self) -> str:
        """Give the kernel's id of this boot."""
        return self._clock.boot_id()

    def of_wall(self, moment: datetime) -> datetime:
        """Give the steady time of what the wall clock, as it is set now, dates so."""
        return moment + self._behind()

    def to_wall(self, moment: datetime) -> datetime:
        """Give how the wall clock, as it is set now, dates a moment of the steady time."""
        return moment - self._behind()

    def save(self, connection: sqlite3.Connection) -> None:
        """Note how late it is, inside the caller's transaction."""
        moments = {
            "at": self.now().timestamp(),
            "wall": self._clock.now().timestamp(),
            "monotonic": self._clock.monotonic(),
            "boot": self._clock.boot_id(),
        }
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, json.dumps(moments)))

    def _behind(self) -> timedelta:
        return self.now() - self._clock.now()


def load(store: Store, clock: Clock) -> SteadyClock:
    """Go on from the last `save`: by the monotonic clock, or across a boot by the wall clock, but never back."""
    rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
    return next(readable(rows, lambda row: _resumed(json.loads(row["value"]), clock)), SteadyClock(clock, clock.now()))


def _resumed(saved: dict[str, Any], clock: Clock) -> SteadyClock:
    if saved["boot"] == clock.boot_id():
        passed = clock.monotonic() - saved["monotonic"]
    else:
        passed = clock.now().timestamp() - saved["wall"]
    return SteadyClock(clock, datetime.fromtimestamp(saved["at"] + max(passed, 0.0), UTC))
