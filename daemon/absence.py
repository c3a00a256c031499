"""Remembers when the daemon was last awake, to tell after a start how long it was away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3

    from daemon.clock import Clock
    from daemon.store import Store

LONGEST = timedelta(hours=1)
_WALL, _MONOTONIC, _BOOT = "saved_at", "saved_monotonic", "saved_boot"


@dataclass(frozen=True, slots=True)
class Absence:
    """The time between the end of the last run and now."""

    lasted: timedelta = timedelta(0)
    """As far as it counts toward a pending or clearing alert: an hour at most."""
    rebooted: bool = False
    """True if the machine was started anew meanwhile."""


def load(store: Store, clock: Clock) -> Absence:
    """Give the absence since the last `save`; none before the first one."""
    boots = store.read("SELECT value FROM meta WHERE key = ?", (_BOOT,))
    rows = store.read("SELECT key, value FROM meta WHERE key IN (?, ?)", (_WALL, _MONOTONIC))
    saved = dict(readable(rows, lambda row: (row["key"], float(row["value"]))))
    if not boots or len(saved) < len((_WALL, _MONOTONIC)):
        return Absence()
    rebooted = boots[0]["value"] != clock.boot_id()
    # Within one boot no clock step can disturb the figure; across a boot there is nothing but the wall clock.
    away = clock.now().timestamp() - saved[_WALL] if rebooted else clock.monotonic() - saved[_MONOTONIC]
    return Absence(min(max(timedelta(seconds=away), timedelta(0)), LONGEST), rebooted)


def save(connection: sqlite3.Connection, clock: Clock) -> None:
    """Note that we are awake now, inside the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
        [(_WALL, repr(clock.now().timestamp())), (_MONOTONIC, repr(clock.monotonic())), (_BOOT, clock.boot_id())],
    )
