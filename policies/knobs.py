"""Checks that the settings of a policy make sense; the error texts are read by the configuration's author."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from policies import words


def longer_than_zero(**durations: timedelta) -> None:
    """Raise ValueError for the first duration that is zero or negative."""
    for name, duration in durations.items():
        if duration <= timedelta(0):
            raise ValueError(f"{name} must be longer than zero")


def larger_than_zero(**levels: float) -> None:
    """Raise ValueError for the first level that is zero or negative."""
    for name, level in levels.items():
        if not level > 0:  # written so that it refuses nan as well
            raise ValueError(f"{name} must be larger than zero")


def within(longest: timedelta, **durations: timedelta) -> None:
    """Raise ValueError for the first duration that exceeds `longest`."""
    for name, duration in durations.items():
        if duration > longest:
            raise ValueError(f"{name} must be at most {words.duration(longest)}")


def falling(**levels: float) -> None:
    """Raise ValueError unless each level is positive and smaller than the one named before it."""
    larger_than_zero(**levels)
    for (above, larger), (below, smaller) in pairwise(levels.items()):
        if not larger > smaller:
            raise ValueError(
                f"{above} must be larger than {below}: the levels say how much is left, so warn > act > critical"
            )
