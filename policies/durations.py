"""Durations as people write them in labels: `72h`, `30d`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse(text: str) -> timedelta:
    """Read a duration; every number needs a unit of s, m, h, d, w. ValueError where there is none to read."""
    stripped = text.strip().lower()
    if not _WHOLE.fullmatch(stripped):
        raise ValueError(f'"{text}" is no duration: it needs a unit, for example "30d"')
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(stripped)))
    except OverflowError:
        raise ValueError(f'"{text}" is too long') from None
