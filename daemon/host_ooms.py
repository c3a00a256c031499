"""Remembers whom the kernel killed when the machine was out of memory: each is told once, whoever restarts."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from collectors.own_facts import HostOom
from daemon.records import readable
from policies import words

if TYPE_CHECKING:
    from collectors.kernel_ooms import LoggedOom
    from daemon.clock import Clock
    from daemon.store import Store

log = logging.getLogger(__name__)

_KEY = "host_ooms"
_NEWS = timedelta(days=1)
_MOST_KEPT = 50
"""Fewer than an alert remembers one by one."""


class HostOoms:
    """Used from the watch thread only. The kernel's log, and with it what is known here, is of one boot."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Go on from what was read in this boot, also before we were restarted."""
        self._store = store
        self._clock = clock
        self._boot = clock.boot_id()
        self._readable = False
        self._until = -1
        """The number of the last line that was read: the kernel counts them on until the machine starts anew."""
        self._kills: tuple[HostOom, ...] = ()
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
        for until, kills in readable(rows, lambda row: self._resumed(json.loads(row["value"]))):
            self._until, self._kills = until, kills

    @property
    def shown(self) -> tuple[HostOom, ...] | None:
        """The last day's kills, the oldest first; `None` where the kernel's log may not be read."""
        return tuple(each for each in self._kills if self._is_news(each)) if self._readable else None

    def note(self, logged: tuple[LoggedOom, ...] | None) -> None:
        """Take note of what the log shows now; writes only when it shows another kill."""
        self._readable = logged is not None
        fresh = [each for each in logged or () if each.number > self._until]
        if not fresh:
            return
        kills = (*self._kills, *map(self._dated, fresh))
        self._until = fresh[-1].number
        self._kills = tuple(each for each in kills if self._is_news(each))[-_MOST_KEPT:]
        log.warning(
            "the machine was out of memory: the kernel killed %s", words.count(len(fresh), "process", "processes")
        )
        value = json.dumps({"boot": self._boot, "until": self._until, "kills": [_saved(each) for each in self._kills]})
        self._store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, value)
            )
        )

    def _is_news(self, kill: HostOom) -> bool:
        return self._clock.now() - kill.at < _NEWS

    def _dated(self, logged: LoggedOom) -> HostOom:
        ago = timedelta(seconds=max(self._clock.monotonic() - logged.at, 0.0))
        return HostOom(
            key=f"{logged.number}@{self._boot}",
            at=self._clock.now() - ago,
            process=logged.process,
            resident_bytes=logged.resident_bytes,
            containers=logged.containers,
        )

    def _resumed(self, saved: dict[str, Any]) -> tuple[int, tuple[HostOom, ...]]:
        if saved["boot"] != self._boot:
            return -1, ()
        return int(saved["until"]), tuple(_loaded(each) for each in saved["kills"])


def _saved(kill: HostOom) -> list[object]:
    return [kill.key, kill.at.isoformat(), kill.process, kill.resident_bytes, kill.containers]


def _loaded(saved: list[Any]) -> HostOom:
    key, at, process, resident, containers = saved
    return HostOom(
        key=str(key),
        at=datetime.fromisoformat(at),
        process=str(process),
        resident_bytes=int(resident),
        containers=None if containers is None else tuple(map(str, containers)),
    )
