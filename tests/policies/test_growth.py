from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import growth
from policies.growth import FAR_OFF, LEAST_POINTS, LEAST_SPAN, Point, bytes_per_second, full_in

MIB = 1 << 20
HOURS_6 = 361


def minutes(*used: float) -> list[Point]:
    """Give one point a minute."""
    return [(1000.0 + 60 * minute, int(bytes_)) for minute, bytes_ in enumerate(used)]


rates = st.integers(-10 * MIB, 10 * MIB)
counts = st.integers(LEAST_POINTS + 11, HOURS_6)


@given(rate=rates, count=counts)
def test_steady_growth_is_what_it_is(rate: int, count: int) -> None:
    points = minutes(*((1 << 50) + 60 * rate * minute for minute in range(count)))
    assert bytes_per_second(points) == pytest.approx(rate, abs=0.01)


@given(rate=st.integers(0, MIB), count=counts, where=st.floats(0, 1))
def test_a_tenth_of_wild_points_does_not_move_it_far(rate: int, count: int, where: float) -> None:
    points = minutes(*(60 * rate * minute for minute in range(count)))
    start = int(where * (count - count // 10))
    for wild in range(start, start + count // 10):
        points[wild] = (points[wild][0], 1 << 45)
    found = bytes_per_second(points)
    assert found is not None
    assert found == pytest.approx(rate, rel=0.3, abs=1)


@given(used=st.lists(st.integers(0, 1 << 60), min_size=31, max_size=HOURS_6))
def test_it_lies_between_the_steepest_slopes(used: list[int]) -> None:
    rate = bytes_per_second(minutes(*used))
    assert rate is not None
    assert abs(rate) <= (max(used) - min(used)) / 60 + 1


@given(used=st.lists(st.integers(0, 1 << 50), min_size=31, max_size=HOURS_6), more=st.integers(0, 1 << 50))
def test_where_it_stands_and_which_way_it_goes_do_not_matter_to_its_size(used: list[int], more: int) -> None:
    rate = bytes_per_second(minutes(*used))
    assert bytes_per_second(minutes(*(each + more for each in used))) == pytest.approx(rate, rel=1e-6, abs=1e-3)
    assert bytes_per_second(minutes(*(-each for each in used))) == pytest.approx(-(rate or 0), rel=1e-6, abs=1e-3)


def test_one_cleanup_near_the_end_does_not_turn_it_round() -> None:
    points = minutes(
        *(MIB * minute for minute in range(300)), *(MIB * minute - 200 * MIB for minute in range(300, 320))
    )
    assert bytes_per_second(points) == pytest.approx(MIB / 60, rel=0.2)


def test_too_little_is_known_for_half_an_hour() -> None:
    for count in (0, 1, 2, 30):
        assert bytes_per_second(minutes(*range(count))) is None
    assert bytes_per_second(minutes(*range(31))) is not None


def test_two_ends_of_a_gap_are_no_trend() -> None:
    assert bytes_per_second([(0.0, 0), (LEAST_SPAN.total_seconds() * 3, 1 << 30)]) is None


@given(available=st.integers(0, 1 << 60), rate=st.none() | st.floats(-1e12, 1e12))
def test_nothing_is_full_that_does_not_grow(available: int, rate: float | None) -> None:
    span = full_in(available, rate)
    if rate is None or rate <= 0:
        assert span is None
    else:
        assert span is None or timedelta(0) <= span <= FAR_OFF


def test_what_is_left_over_the_growth_is_the_time_left() -> None:
    assert full_in(36_000 * MIB, float(MIB)) == timedelta(hours=10)
    assert full_in(0, 1.0) == timedelta(0)
    assert full_in(1 << 50, 1.0) is None
    assert growth.WINDOW > LEAST_SPAN
