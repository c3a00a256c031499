"""The notation of durations and sizes in the configuration: "1h30m", "20GiB"."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    "KB": 1000,
}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_LONGEST = timedelta(days=36500)
_LARGEST = 1 << 60

NEEDS_DURATION = 'a duration needs a unit, for example "30d", "1h30m" or "10s"'
NEEDS_SIZE = 'a size needs a unit, for example "20GiB" or "512MB"'


def duration(text: str) -> timedelta:
    """Read "72h", "1h30m", "500ms"; raise ValueError with the cure when it is not a duration."""
    seconds = sum(number * _unit(unit, _SECONDS, NEEDS_DURATION) for number, unit in _amounts(text, NEEDS_DURATION))
    if seconds > _LONGEST.total_seconds():
        raise ValueError("a duration of more than 100 years is surely a slip")
    return timedelta(seconds=seconds)


def size(text: str) -> int:
    """Read "20GiB" or "1.5 GB" as bytes; raise ValueError with the cure when it is not a size."""
    amounts = _amounts(text, NEEDS_SIZE)
    if len(amounts) != 1:
        raise ValueError(NEEDS_SIZE)
    [(number, unit)] = amounts
    size_bytes = number * _unit(unit, _BYTES, NEEDS_SIZE)
    if size_bytes > _LARGEST:
        raise ValueError("a size of more than 1 EiB is surely a slip")
    return round(size_bytes)


def _amounts(text: str, cure: str) -> list[tuple[float, str]]:
    """Split "1h30m" into its numbers with their units."""
    amounts: list[tuple[float, str]] = []
    position = 0
    while position < len(text) and (found := _AMOUNT.match(text, position)):
        amounts.append((float(found[1]), found[2]))
        position = found.end()
    if not amounts or position < len(text):
        raise ValueError(cure)
    return amounts


def _unit(unit: str, known: dict[str, float] | dict[str, int], cure: str) -> float:
    if unit in known:
        return known[unit]
    raise ValueError(f'no such unit as "{unit}"; {cure}' if unit else cure)
