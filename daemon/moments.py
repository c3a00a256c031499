"""Points in time as people type them: an age, a day, a moment."""

from __future__ import annotations

from datetime import UTC, datetime

from policies import durations

_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""What is meant for ever ends then."""
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
"""Nothing of ours is older, and nobody's clock counts further back."""


def since(text: str, now: datetime) -> datetime:
    """
    Read since when: `7d` is that long before now, `2026-11-23` begins at midnight UTC, else an RFC 3339 time.

    A time without an offset is meant in UTC, as all times are told. ValueError for anything else.
    """
    try:
        at = now - durations.parse(text)
    except OverflowError:
        return _EARLIEST
    except ValueError:
        at = datetime.fromisoformat(text.strip())
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max(at, _EARLIEST).astimezone(UTC)


def until(text: str, now: datetime) -> datetime:
    """
    Read until when: `2h` is that long from now, else an RFC 3339 time, in UTC if it has no offset.

    ValueError for anything else.
    """
    try:
        return min(now + durations.parse(text), _LATEST)
    except OverflowError:
        return _LATEST
    except ValueError:
        at = datetime.fromisoformat(text.strip())
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
