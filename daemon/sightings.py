"""How long we have watched each image lie unused, summed over our own running time only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from daemon.clock import Clock
    from daemon.store import Store

_WATCHED = "watched_seconds"
_KIND = "image"


class Sightings:
    """
    Ages by observation: a rule "unused for 24 h" may only fire on what we have watched for 24 h.

    Time counts by the monotonic clock, so neither a clock step nor our own absence makes anything old.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._clock = clock
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_WATCHED,))
        self._watched_before = next(readable(rows, lambda row: float(row["value"])), 0.0)
        self._started = clock.monotonic()
        seen = store.read("SELECT id, watched_at_first FROM sightings WHERE kind = ?", (_KIND,))
        self._first: dict[str, float] = {row["id"]: row["watched_at_first"] for row in seen}
        self._new: set[str] = set()
        self._gone: set[str] = set()

    @property
    def watched(self) -> timedelta:
        """How long we have watched in all."""
        return timedelta(seconds=self._watched_seconds())

    def watched_for(self, image_id: str) -> timedelta:
        """How long we have watched this image lie unused; zero if it is new to us, or in use."""
        first = self._first.get(image_id)
        return timedelta(0) if first is None else timedelta(seconds=max(self._watched_seconds() - first, 0.0))

    def meet(self, image_ids: Iterable[str]) -> None:
        """Take note of the images that lie unused now, all of them: the others are forgotten."""
        present = set(image_ids)
        now = self._watched_seconds()
        for image_id in present - self._first.keys():
            self._first[image_id] = now
            self._new.add(image_id)
        for image_id in self._first.keys() - present:
            del self._first[image_id]
            self._new.discard(image_id)
            self._gone.add(image_id)

    @property
    def unsaved(self) -> bool:
        """True if a restart would forget what came into use just now, or what is idle since."""
        return bool(self._new or self._gone)

    def save(self, connection: sqlite3.Connection) -> None:
        """Store what changed, inside the caller's transaction."""
        first_seen = self._clock.now().timestamp()
        connection.executemany("DELETE FROM sightings WHERE kind = ? AND id = ?", [(_KIND, i) for i in self._gone])
        connection.executemany(
            "INSERT OR REPLACE INTO sightings (kind, id, watched_at_first, first_seen) VALUES (?, ?, ?, ?)",
            [(_KIND, image_id, self._first[image_id], first_seen) for image_id in self._new],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
            [(_WATCHED, repr(self._watched_seconds()))],
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._new.clear()
        self._gone.clear()

    def _watched_seconds(self) -> float:
        return self._watched_before + self._clock.monotonic() - self._started
