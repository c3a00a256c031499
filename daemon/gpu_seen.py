"""Remembers how many GPUs there were since the machine started: fewer are a fault, not a smaller machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from daemon.records import readable

if TYPE_CHECKING:
    from daemon.clock import Clock
    from daemon.store import Store

_KEY = "gpus_seen"


class SeenGpus:
    """Used from the watch thread only. A boot forgets: whoever takes a card out switches the machine off."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Go on from what this boot has seen, also before we were restarted."""
        self._store = store
        self._boot = clock.boot_id()
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
        self.count: int = next(readable(rows, lambda row: self._resumed(json.loads(row["value"]))), 0)
        """The most that were seen at once."""

    def note(self, count: int) -> None:
        """Take note of what is there now; writes only when it is more than ever."""
        if count <= self.count:
            return
        self.count = count
        value = json.dumps({"count": count, "boot": self._boot})
        self._store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, value)
            )
        )

    def _resumed(self, saved: dict[str, Any]) -> int:
        return int(saved["count"]) if saved["boot"] == self._boot else 0
