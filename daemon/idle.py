"""How long we have watched objects idle: containers stopped, networks and volumes that nothing refers to."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from daemon.clock import Clock
    from daemon.store import Store

KINDS = (SubjectKind.CONTAINER, SubjectKind.NETWORK, SubjectKind.VOLUME)
_MET = "met_"
"""How the keys of `meta` begin that say of a kind that it was once looked at as a whole."""


class IdleTimes:
    """
    Ages by observation: neither a wall clock that is set nor our own absence makes anything old.

    What was idle before we ever looked is believed to be as old as its date says. Whatever is found idle later was
    not so at the look before, so it counts from then on. `watched` gives the running time of Shipkeeper in all.
    """

    def __init__(self, store: Store, clock: Clock, watched: Callable[[], timedelta]) -> None:
        self._clock = clock
        self._watched = watched
        self._first: defaultdict[SubjectKind, dict[str, float]] = defaultdict(dict)
        for row in store.read("SELECT kind, id, watched_at_first FROM sightings", ()):
            if row["kind"] in KINDS:
                self._first[SubjectKind(row["kind"])][row["id"]] = row["watched_at_first"]
        keys = {row["key"] for row in store.read("SELECT key FROM meta", ())}
        self._met = {kind for kind in KINDS if f"{_MET}{kind}" in keys}
        self._new: set[tuple[SubjectKind, str]] = set()
        self._gone: set[tuple[SubjectKind, str]] = set()

    def idle_for(self, kind: SubjectKind, key: str) -> timedelta:
        """Give how long we have watched it idle, rounded down; zero if it is new to us, or in use."""
        first = self._first[kind].get(key)
        return timedelta(0) if first is None else _coarse(self._seconds() - first)

    def meet(self, kind: SubjectKind, idle: Mapping[str, timedelta]) -> None:
        """Take note of all that is idle now, with the ages that their dates tell: the others are forgotten."""
        first, now = self._first[kind], self._seconds()
        for key in idle.keys() - first.keys():
            first[key] = now if kind in self._met else now - idle[key].total_seconds()
            self._new.add((kind, key))
            self._gone.discard((kind, key))
        for key in first.keys() - idle.keys():
            del first[key]
            self._new.discard((kind, key))
            self._gone.add((kind, key))
        self._met.add(kind)

    @property
    def unsaved(self) -> bool:
        """True if a restart would forget what came into use just now, or what is idle since."""
        return bool(self._new or self._gone)

    def save(self, connection: sqlite3.Connection) -> None:
        """Store what changed, inside the caller's transaction."""
        first_seen = self._clock.now().timestamp()
        connection.executemany("DELETE FROM sightings WHERE kind = ? AND id = ?", list(self._gone))
        connection.executemany(
            "INSERT OR REPLACE INTO sightings (kind, id, watched_at_first, first_seen) VALUES (?, ?, ?, ?)",
            [(kind, key, self._first[kind][key], first_seen) for kind, key in self._new],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO meta (key, value) VALUES (?, 'yes')", [(f"{_MET}{kind}",) for kind in self._met]
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._new.clear()
        self._gone.clear()

    def _seconds(self) -> float:
        return self._watched().total_seconds()


def _coarse(seconds: float) -> timedelta:
    """Round down: an age that changed in every cycle would make every stopped container a new value each time."""
    whole = max(int(seconds), 0)
    step = 1 if whole < 60 else 60 if whole < 3600 else 300  # noqa: PLR2004  a second, a minute, five minutes
    return timedelta(seconds=whole - whole % step)
