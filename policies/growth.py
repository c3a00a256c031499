"""How fast a filesystem fills, and when it will be full if that goes on."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Point: TypeAlias = tuple[float, int]
"""When, in seconds of a clock that is never set, and how many bytes were in use."""

WINDOW = timedelta(hours=6)
"""What is older tells of another day."""
LEAST_SPAN = timedelta(minutes=30)
"""Over less than this a trend is a guess."""
LEAST_POINTS = 20
FAR_OFF = timedelta(days=3650)
"""What is full in ten years at the earliest does not grow."""

_MOST_BINS = 72
"""Slopes are taken between all pairs: this many bins make 2,556 of them."""


def bytes_per_second(points: Sequence[Point]) -> float | None:
    """
    Give the growth of a filesystem from its points, oldest first; negative while it empties, `None` if too few.

    It is the median of the slopes between all pairs of bins (Theil and Sen): a file that comes and goes, or one
    cleanup, does not move it.
    """
    if len(points) < LEAST_POINTS or points[-1][0] - points[0][0] < LEAST_SPAN.total_seconds():
        return None
    width = -(-len(points) // _MOST_BINS)
    bins = [_middle(points[start : start + width]) for start in range(0, len(points), width)]
    return median([(used - before) / (at - earlier) for (earlier, before), (at, used) in combinations(bins, 2)])


def full_in(available_bytes: int, rate: float | None) -> timedelta | None:
    """Give when the last byte will be taken at this growth; `None` where it does not grow."""
    if rate is None or rate <= 0 or available_bytes / rate > FAR_OFF.total_seconds():
        return None
    return timedelta(seconds=available_bytes / rate)


def _middle(points: Sequence[Point]) -> tuple[float, float]:
    return median([at for at, _ in points]), median([used for _, used in points])
