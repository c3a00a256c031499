"""Docker's text for people is read back for what it stands for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import status_text
from collectors.facts import HealthStatus
from tests.lab.scripted_engine import human_duration


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_the_age_that_was_said_lies_in_the_range_that_is_read(age: timedelta) -> None:
    for status in (f"Up {human_duration(age)} (healthy)", f"Exited (1) {human_duration(age)} ago"):
        read = status_text.age(status)
        assert read is not None
        assert read.shortest <= age < read.longest
        assert read.overlaps(age, age)


@given(st.text())
def test_any_text_is_read_or_says_nothing(text: str) -> None:
    status_text.age(text)
    status_text.health(text)
    status_text.exit_code(text)
    status_text.age(f"Up {text}")


@pytest.mark.parametrize(
    ("status", "code", "health"),
    [
        ("Up 3 minutes", None, None),
        ("Up 3 minutes (healthy)", None, HealthStatus.HEALTHY),
        ("Up About an hour (unhealthy)", None, HealthStatus.UNHEALTHY),
        ("Up 1 second (health: starting)", None, HealthStatus.STARTING),
        ("Up 2 hours (Paused)", None, None),
        ("Exited (137) 3 hours ago", 137, None),
        ("Exited (-1) 3 hours ago", -1, None),
        ("Restarting (7) Less than a second ago", 7, None),
        ("Created", None, None),
        ("Removal In Progress", None, None),
    ],
)
def test_exit_code_and_health_are_read(status: str, code: int | None, health: HealthStatus | None) -> None:
    assert status_text.exit_code(status) == code
    assert status_text.health(status) == health


@pytest.mark.parametrize("status", ["Created", "Dead", "Removal In Progress", "", "Up 3 fortnights", "Up  minutes"])
def test_a_text_without_an_age_gives_none(status: str) -> None:
    assert status_text.age(status) is None
