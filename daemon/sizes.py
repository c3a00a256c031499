"""The notation of sizes in the configuration: "20GiB", "512MB"."""

from __future__ import annotations

import re

_UNITS: dict[str, int] = {
    "B": 1,
    "kB": 1000,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]+)", re.ASCII)

NEEDS_UNIT = 'a size needs a unit, for example "20GiB" or "512MB"'


def parse(text: str) -> int:
    """Read "20GiB" or "1.5 GB" as bytes; raise ValueError with the cure when it is not a size."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(NEEDS_UNIT)
    number, unit = found.groups()
    if unit not in _UNITS:
        raise ValueError(f'no such unit as "{unit}"; {NEEDS_UNIT}')
    return round(float(number) * _UNITS[unit])
