from __future__ import annotations

from datetime import timedelta

import pytest

from policies import knobs


def test_the_first_duration_that_is_not_longer_than_zero_is_named() -> None:
    knobs.longer_than_zero(a=timedelta(seconds=1))
    with pytest.raises(ValueError, match=r"^b must be longer than zero$"):
        knobs.longer_than_zero(a=timedelta(1), b=timedelta(-1), c=timedelta(0))


def test_the_first_duration_beyond_the_longest_is_named() -> None:
    knobs.within(timedelta(hours=1), a=timedelta(hours=1))
    with pytest.raises(ValueError, match=r"^b must be at most 1 h$"):
        knobs.within(timedelta(hours=1), b=timedelta(hours=2))


def test_levels_must_fall_and_stay_above_zero() -> None:
    knobs.falling(warn=3, act=2, critical=0.5)
    with pytest.raises(ValueError, match=r"^act must be larger than critical: .* warn > act > critical$"):
        knobs.falling(warn=3, act=2, critical=2)
    with pytest.raises(ValueError, match=r"^critical must be larger than zero$"):
        knobs.falling(warn=3, act=2, critical=0)
