"""What Docker's status text for people ("Up 3 minutes (healthy)") tells, so that an idle container needs no inspect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from collectors.facts import HealthStatus

_EXIT_CODE: Final = re.compile(r"^(?:Exited|Restarting) \((-?\d{1,10})\) ")
_HEALTH: Final = re.compile(r" \((?:health: )?(starting|healthy|unhealthy)\)$")
_AGE: Final = re.compile(
    r"^(?:Up|(?:Exited|Restarting) \(-?\d{1,10}\)) (?:"
    r"(?P<instant>Less than a second)|About (?:a|an) (?P<about>minute|hour)|(?P<count>\d{1,7}) (?P<unit>[a-z]+?)s?"
    r")(?: ago)?(?: \(.*\))?$"
)

# go-units, HumanDuration: every unit is cut to a whole number, but the hours that days, weeks and months are
# counted from are rounded to the nearest, so each of these begins half an hour early. Years are cut again.
_UNITS: Final = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
_HALF_HOUR: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class AgeRange:
    """The span of ages that one text stands for: `shortest` included, `longest` excluded."""

    shortest: timedelta
    longest: timedelta

    def overlaps(self, shortest: timedelta, longest: timedelta) -> bool:
        """Tell whether some age from `shortest` to `longest` is told by this text."""
        return self.shortest <= longest and shortest < self.longest


def exit_code(status: str) -> int | None:
    """Give the exit code in `Exited (137) 3 hours ago`; `None` where there is none."""
    match = _EXIT_CODE.match(status)
    return int(match[1]) if match else None


def health(status: str) -> HealthStatus | None:
    """Give the health in `Up 3 minutes (healthy)`; `None` where there is none."""
    match = _HEALTH.search(status)
    return HealthStatus(match[1]) if match else None


def age(status: str) -> AgeRange | None:
    """Give how long ago the container started or ended by its text; `None` where the text does not say."""
    match = _AGE.match(status)
    if match is None:
        return None
    if match["instant"]:
        return AgeRange(timedelta(0), timedelta(seconds=1))
    unit = _UNITS.get(match["about"] or match["unit"])
    if unit is None:
        return None
    count = int(match["count"] or 1)
    early = _HALF_HOUR if _UNITS["hour"] <= unit < _UNITS["year"] else timedelta(0)
    return AgeRange(count * unit - early, (count + 1) * unit - early)
