"""Cycles begin at once after a calm, and take a bounded share of the time under load."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from daemon.pace import CREDIT_SECONDS, LONGEST_REST_SECONDS, SHARE, Pace
from tests.fakes.clock import FakeClock


def rest_after(pace: Pace, clock: FakeClock, seconds: float) -> float:
    """Let a cycle of this length pass, and give how long the next one has to wait."""
    clock.advance(timedelta(seconds=seconds))
    pace.worked(seconds)
    return pace.rest_seconds()


def test_a_burst_after_a_calm_is_not_held_up() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    assert [rest_after(pace, clock, 0.03) for _ in range(10)] == [0.0] * 10


def test_under_load_a_cycle_is_followed_by_a_rest_of_four_times_its_length() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    rest = 0.0
    for _ in range(50):
        rest = rest_after(pace, clock, 0.1)
        clock.advance(timedelta(seconds=rest))
    assert abs(rest - 0.4) < 0.001


def test_one_long_cycle_is_followed_by_a_short_rest() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    for _ in range(5):
        assert rest_after(pace, clock, 30) == LONGEST_REST_SECONDS


def test_a_calm_gives_the_whole_budget_back_and_no_more() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    rest_after(pace, clock, 30)
    clock.advance(timedelta(hours=1))
    assert pace.rest_seconds() == 0.0
    assert rest_after(pace, clock, CREDIT_SECONDS) == 0.0
    assert rest_after(pace, clock, 0.1) > 0.0


@given(st.lists(st.tuples(st.floats(0.001, SHARE * LONGEST_REST_SECONDS), st.floats(0, 3)), max_size=60))
def test_over_any_time_the_cycles_take_their_share_and_one_credit_at_most(rounds: list[tuple[float, float]]) -> None:
    """Each round: how long its cycle takes, and how long nobody wakes it after its rest."""
    clock = FakeClock()
    pace = Pace(clock)
    begun, worked, last = clock.monotonic(), 0.0, 0.0
    for took, calm in rounds:
        worked += took
        clock.advance(timedelta(seconds=rest_after(pace, clock, took) + calm))
        last = took
    assert worked <= CREDIT_SECONDS + last + SHARE * (clock.monotonic() - begun) + 0.001
