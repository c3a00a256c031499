"""When each policy removes by itself: its schedule, in the time that this machine's wall clock shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from daemon.clock import wall_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from apscheduler.triggers.base import BaseTrigger

    from daemon.clock import Clock

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART: Final = re.compile(
    r"(?:\*|(?P<first>[0-7]|[a-z]{3})(?:-(?P<last>[0-7]|[a-z]{3}))?)(?:/(?P<step>[1-7]))?", re.ASCII
)
_FIELDS: Final = 5
_STEP_SECONDS: Final = 2.0
_TICK: Final = timedelta(seconds=1)
LATEST: Final = timedelta(hours=1)
"""So long after its time a policy may still begin: it may have been held up, or a run of another may have lasted."""


@dataclass(frozen=True, slots=True)
class _Next:
    schedule: str
    at: datetime | None
    ahead: float


def trigger(schedule: str) -> BaseTrigger:
    """Read five fields of cron; ValueError with the cure for anything else."""
    fields = schedule.split()
    if len(fields) != _FIELDS:
        raise ValueError('needs the five fields of cron, for example "0 3 * * *" for three at night')
    try:
        # To APScheduler a week begins with Monday as 0; in every crontab with Sunday.
        weekdays = ",".join(day for part in fields[4].lower().split(",") for day in _days(part))
        if fields[2].startswith("*") or fields[4].startswith("*"):
            return CronTrigger.from_crontab(" ".join((*fields[:4], weekdays)))
        # Days of the month and of the week: in every crontab either will do, APScheduler wants both.
        either = ((fields[2], "*"), ("*", weekdays))
        return OrTrigger(
            [CronTrigger.from_crontab(" ".join((*fields[:2], day, fields[3], weekday))) for day, weekday in either]
        )
    except ValueError as error:
        raise ValueError(f"is no schedule of cron: {error}") from error


def next_time(schedule: str, now: datetime) -> datetime | None:
    """Give the next time of a schedule after `now`; `None` for one that never comes."""
    at: datetime | None = trigger(schedule).get_next_fire_time(None, now + _TICK)
    return at


def _days(part: str) -> Sequence[str]:
    """Read one part of the field of weekdays: `1-5`, `sun`, `*/2`."""
    found = _PART.fullmatch(part)
    if not found:
        raise ValueError(f'"{part}" names no days of the week')
    first, last = 0, len(_DAYS) - 1
    if found["first"]:
        first = last = _day(found["first"])
    if found["last"]:
        last = _day(found["last"])
    if last < first:
        raise ValueError(f'"{part}" ends before it begins')
    return [_DAYS[day % len(_DAYS)] for day in range(first, last + 1, int(found["step"] or 1))]


def _day(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdigit():
        return int(text)
    raise ValueError(f'"{text}" is no day of the week')


class Schedules:
    """
    Which policies are due. Used from the executor's thread alone.

    A policy is due for an hour from each time of its schedule on, or until it had its turn. What falls into our
    absence, or under a wall clock that is set, is left out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, _Next] = {}
        self._since: dict[str, datetime] = {}

    def look(self, schedules: Mapping[str, str]) -> None:
        """See which times have come; `schedules` are those of all policies, empty for one that is always due."""
        now, ahead = self._clock.now(), wall_ahead(self._clock).total_seconds()
        for policy, schedule in schedules.items():
            known = self._next.get(policy)
            if known is None or known.schedule != schedule or abs(ahead - known.ahead) > _STEP_SECONDS:
                self._since.pop(policy, None)
            elif known.at is None or now < known.at:
                continue
            else:
                self._since[policy] = known.at
            at = next_time(schedule, now) if schedule else None
            self._next[policy] = _Next(schedule, at, ahead)

    def due(self, policy: str) -> bool:
        """Tell whether a policy may act by itself now."""
        known, since = self._next.get(policy), self._since.get(policy)
        if known is None or not known.schedule:
            return True
        return since is not None and self._clock.now() - since < LATEST

    def done(self, policies: Iterable[str]) -> None:
        """Note that these had their turn."""
        for policy in policies:
            self._since.pop(policy, None)
