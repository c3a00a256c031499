from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.schedules import LATEST, Schedules, next_time, trigger

if TYPE_CHECKING:
    from tests.fakes.clock import FakeClock

HOURLY = {"p": "0 * * * *"}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def due_within(schedules: Schedules, clock: FakeClock, span: timedelta) -> list[int]:
    """Give the minutes at which the policy had its turn."""
    turns = []
    for _ in range(span // MINUTE):
        clock.advance(MINUTE)
        schedules.look(HOURLY)
        if schedules.due("p"):
            schedules.done(["p"])
            turns.append(clock.now().minute)
    return turns


def test_a_policy_has_one_turn_for_each_time_of_its_schedule(clock: FakeClock) -> None:
    schedules = Schedules(clock)
    schedules.look(HOURLY)
    assert due_within(schedules, clock, 3 * HOUR) == [0, 0, 0]


def test_without_a_schedule_it_is_always_due(clock: FakeClock) -> None:
    schedules = Schedules(clock)
    assert schedules.due("p")
    schedules.look({"p": ""})
    assert schedules.due("p")
    schedules.look(HOURLY)
    assert not schedules.due("p")


def test_a_turn_that_nobody_took_is_over_after_an_hour(clock: FakeClock) -> None:
    schedules = Schedules(clock)
    daily = {"p": "0 3 * * *"}
    schedules.look(daily)
    clock.advance(11 * HOUR)
    schedules.look(daily)
    assert schedules.due("p")
    clock.advance(LATEST)
    schedules.look(daily)
    assert not schedules.due("p")


@pytest.mark.parametrize("step", [5 * HOUR, -5 * HOUR, timedelta(days=400)])
def test_a_wall_clock_that_is_set_makes_nothing_due(clock: FakeClock, step: timedelta) -> None:
    schedules = Schedules(clock)
    schedules.look(HOURLY)
    clock.step(step)
    schedules.look(HOURLY)
    assert not schedules.due("p")
    assert due_within(schedules, clock, HOUR) == [0]


def test_another_schedule_is_counted_from_now_on(clock: FakeClock) -> None:
    schedules = Schedules(clock)
    schedules.look(HOURLY)
    clock.advance(HOUR)
    schedules.look({"p": "30 3 * * *"})
    assert not schedules.due("p")


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("0 3 1 * mon", [1, 7, 14]),
        ("0 3 1 * *", [1, 1, 1]),
        ("0 3 * * mon", [7, 14, 21]),
        ("0 3 */2 * mon", [7, 21, 11]),
    ],
)
def test_days_of_the_month_and_of_the_week_are_either_as_in_every_crontab(schedule: str, days: list[int]) -> None:
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    found = []
    for _ in days:
        after = next_time(schedule, at)
        assert after is not None
        found.append(after.day)
        at = after
    assert found == days


NUMBERS = {"0": 6, "7": 6, "1": 0, "5-6": 4, "sun": 6, "*/7": 6, "*/2": 1, "6-7": 5, "SAT,MON": 0, "tue-fri/2": 1}
NO_SCHEDULES = [
    "daily",
    "* * * *",
    "61 * * * *",
    "x * * * *",
    "* * * * 6-0",
    "* * * * 8",
    "* * * * son",
    "* * * * ",
    "* * * * 1,,2",
]


@pytest.mark.parametrize(("day", "name"), NUMBERS.items())
def test_the_numbers_of_weekdays_are_those_of_every_crontab(day: str, name: int) -> None:
    monday = datetime.fromisoformat("2026-11-23T00:00:00+00:00")
    at = trigger(f"0 3 * * {day}").get_next_fire_time(None, monday)
    assert at is not None
    assert at.weekday() == name


@pytest.mark.parametrize(
    "text",
    [
        "daily",
        "* * * *",
        "61 * * * *",
        "x * * * *",
        "* * * * 6-0",
        "* * * * 8",
        "* * * * son",
        "* * * * ",
        "* * * * 1,,2",
    ],
)
def test_what_is_no_schedule_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        trigger(text)
