"""What the owner of an object wrote on it about its removal, in labels."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from policies import durations, words

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTECT = "shipkeeper.protect"
KEEP_UNTIL = "shipkeeper.keep-until"
TTL = "shipkeeper.ttl"

# RFC 3339 alone, with its offset: `fromisoformat` takes week dates and naive times too, and a guess about
# the owner's time zone could remove what was to be kept.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
BELIEVED_AFTER = timedelta(days=7)
"""So long after somebody set the wall clock forward no date is believed to have come by it."""
_OVER_EVERYWHERE = timedelta(hours=36)
"""A day that begins at midnight UTC has ended in every time zone by then."""


def why_kept(
    labels: Mapping[str, str], clock: timedelta | None, now: datetime, clock_set_ago: timedelta | None = None
) -> str | None:
    """
    Say which label protects; None when none does.

    `clock` is how long the object has been of no use, None where nobody knows; `clock_set_ago` how long ago the
    wall clock was set forward, None if it was not. A value that cannot be understood protects: its owner wanted
    something kept.
    """
    if labels.get(PROTECT, "false").strip().lower() != "false":
        return f"protected: label {PROTECT}"
    if (text := labels.get(KEEP_UNTIL)) is not None:
        until = _until(text)
        if until is None:
            return f'protected: label {KEEP_UNTIL} is malformed ("{text}" is no RFC 3339 date or time)'
        if now < until:
            return f"protected: label {KEEP_UNTIL}, until {words.moment(until)}"
        if clock_set_ago is not None and clock_set_ago < BELIEVED_AFTER:
            ago = words.duration(clock_set_ago)
            return f"protected: label {KEEP_UNTIL}, and the clock, set forward {ago} ago, may be wrong"
    if (text := labels.get(TTL)) is not None:
        return _ttl(text, clock)
    return None


def ttl(labels: Mapping[str, str]) -> timedelta | None:
    """Give the age at which the owner allows the removal; None where no such label can be read."""
    try:
        return durations.parse(labels[TTL]) if TTL in labels else None
    except ValueError:
        return None


def _ttl(text: str, clock: timedelta | None) -> str | None:
    """Say how long a `ttl` still keeps it."""
    try:
        allowed = durations.parse(text)
    except ValueError:
        return f'protected: label {TTL} is malformed ("{text}" is no duration such as "72h")'
    if clock is None:
        return f"protected: label {TTL}, and it is not known since when it counts"
    return f"protected: label {TTL}, for {words.duration(allowed - clock)} more" if clock < allowed else None


def _until(text: str) -> datetime | None:
    """Read a time, or a day, which counts to its end wherever that comes last."""
    stamp = text.strip().upper()
    try:
        if _DATE.fullmatch(stamp):
            return datetime.fromisoformat(stamp).replace(tzinfo=UTC) + _OVER_EVERYWHERE
        return datetime.fromisoformat(stamp).astimezone(UTC) if _TIME.fullmatch(stamp) else None
    except (ValueError, OverflowError):
        return None
