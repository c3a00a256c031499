"""Points in time as people type them: an age, a day, a moment."""

from __future__ import annotations

from datetime import UTC, datetime

from policies import durations

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
