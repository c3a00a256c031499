"""What ended badly while nobody watched, too long ago for an alert of its own: one summary of all of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003  pydantic reads the annotation at run time
from typing import TYPE_CHECKING

from daemon.recent import SHOWN_FOR
from daemon.stored import Stored
from policies import words
from policies.deaths import alert_of
from policies.muting import audible

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from collectors.facts import Death

MOST_NAMED = 20
"""Containers named in one line of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedEnd:
    """The bad ends of one container: the newest of them, and how many there were."""

    name: str
    exit_code: int | None
    at: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What one summary tells of, the newest first."""

    ends: tuple[MissedEnd, ...]

    @property
    def key(self) -> str:
        """What the summary is recognised by: the same ends are told once."""
        told = "\0".join(f"{end.name}\0{end.at.isoformat()}" for end in self.ends)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def journal(self) -> str:
        """Give all of it in one line of the log."""
        named = [f"{words.plain(end.name)} ({_account(end)})" for end in self.ends]
        return f"{self.title}, too long ago for an alert: {words.some(named, MOST_NAMED)}"

    @property
    def title(self) -> str:
        """Give the clause that says what it is about."""
        return f"while nobody watched {words.count(len(self.ends), 'container')} ended badly"

    def lines(self) -> Iterator[str]:
        """Yield a line for each container."""
        for end in self.ends:
            yield f"{end.name}: {_account(end)}"


RECORD = Stored(Missed)
"""Writes a summary as JSON, reads it back."""


def too_old(deaths: Iterable[Death], now: datetime, ignore: Iterable[str], told: Container[str]) -> Iterator[Death]:
    """Yield the bad ends that are no news any more; of what the owner wants to hear, by globs, labels and alerts."""
    globs = tuple(ignore)
    for death in deaths:
        wanted = alert_of(death) in told and audible(death.name, death.labels, globs)
        if death.bad and wanted and death.age(now) >= SHOWN_FOR:
            yield death


def sum_up(deaths: Iterable[Death]) -> Missed | None:
    """Give one summary of these ends; `None` if there are none."""
    by_container: dict[str, list[Death]] = defaultdict(list)
    for death in deaths:
        by_container[death.container_id].append(death)
    ends = []
    for ended in by_container.values():
        newest = max(ended, key=lambda death: death.finished_at)
        ends.append(MissedEnd(name=newest.name, exit_code=newest.exit_code, at=newest.finished_at, count=len(ended)))
    return Missed(ends=tuple(sorted(ends, key=lambda end: end.at, reverse=True))) if ends else None


def _account(end: MissedEnd) -> str:
    times = f", {end.count} times" if end.count > 1 else ""
    return f"{words.exit_code(end.exit_code)} at {words.moment(end.at)}{times}"
