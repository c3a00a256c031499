"""The deaths and memory kills of the last hour, which policies are shown."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.clock import wall_ahead
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from collectors.facts import Death, OomKill
    from daemon.clock import Clock

log = logging.getLogger(__name__)

SHOWN_FOR = timedelta(hours=1)
MOST_SHOWN = 1000
"""Policies look at the newest ones only; the ledger in the store has them all."""
CLOCK_STEP = timedelta(seconds=2)
"""Wall and monotonic clock drift apart by less than that between two cycles, unless somebody sets the former."""


class Recent:
    """Keeps what happened lately, and how old it is whatever the wall clock is set to; for the watch thread alone."""

    def __init__(self, deaths: Iterable[Death], kills: Iterable[OomKill], clock: Clock) -> None:
        """Begin with what the store remembers of the last hour."""
        self._clock = clock
        self._offset = wall_ahead(self._clock)
        self._deaths: list[Death] = []
        self._kills: list[OomKill] = []
        self.add(deaths, kills)

    def add(self, deaths: Iterable[Death], kills: Iterable[OomKill]) -> None:
        """Take note of what happened just now, or was found just now."""
        self._follow_clock()
        self._deaths = sorted([*self._deaths, *deaths], key=_moment)[-MOST_SHOWN:]
        self._kills = sorted([*self._kills, *kills], key=lambda kill: kill.at)[-MOST_SHOWN:]

    def shown(self, now: datetime) -> tuple[tuple[Death, ...], tuple[OomKill, ...]]:
        """Give the deaths and the memory kills of the last hour, oldest first."""
        self._follow_clock()
        self._deaths = [death for death in self._deaths if death.age(now) < SHOWN_FOR]
        self._kills = [kill for kill in self._kills if now - kill.at < SHOWN_FOR]
        return tuple(self._deaths), tuple(self._kills)

    def _follow_clock(self) -> None:
        offset = wall_ahead(self._clock)
        step, self._offset = offset - self._offset, offset
        if abs(step) < CLOCK_STEP:
            return
        direction = "forward" if step > timedelta(0) else "back"
        log.warning("the wall clock was set %s by %s", direction, words.duration(abs(step)))
        self._deaths = [replace(death, clock_set=death.clock_set + step) for death in self._deaths]


def _moment(death: Death) -> datetime:
    """Give when it happened by the clock as it is set now."""
    return death.finished_at + death.clock_set
