"""The page about sizing: its figures, and the table that follows from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.proofs import REPOSITORY, rows_below

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = REPOSITORY / "docs" / "sizing.md"
FIGURES = {name: float(value) for name, value, _ in rows_below("## Measured", PAGE.read_text())}
HEADING = "## From 1 to 5,000 hosts"

_HOSTS = (1, 10, 100, 500, 1_000, 2_000, 5_000)
_CONTAINERS = 30
_EVERY_SECONDS = 15
_DAYS = 30
_SERIES_OF_A_SERVER = 5_000_000
_PUSHED_EVERY_SECONDS = 60


def rows() -> Iterator[str]:
    """Yield the rows of the table."""
    of_container = FIGURES["series of each container, cgroup v2 and one network"]
    of_host = FIGURES["series without any container"] + _CONTAINERS * of_container
    for hosts in _HOSTS:
        series = hosts * of_host
        samples = series / _EVERY_SECONDS
        cells = (
            f"{hosts:,}",
            f"{_rounded(series):,.0f}",
            f"{_rounded(samples):,.0f}",
            f"{_size(samples * FIGURES['page, gzipped, of each series'])}/s",
            _size(samples * 86_400 * _DAYS * FIGURES["both, in a block of two hours"]),
            _size(2 * series * FIGURES["memory of each series"] * 1024),
            f"{math.ceil(series / _SERIES_OF_A_SERVER)}",
            f"{_rounded(hosts / _PUSHED_EVERY_SECONDS):,g}",
        )
        yield f"| {' | '.join(cells)} |"


def _rounded(value: float) -> float:
    """Give it to two digits: no more of it is known."""
    return float(f"{value:.1e}")


def _size(size_bytes: float) -> str:
    power = min(int(math.log(size_bytes, 1024)), 4)
    return f"{_rounded(size_bytes / 1024**power):g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
