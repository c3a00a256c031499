from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import moments
from tests.fakes.clock import NOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T12:00:00+01:00", datetime(2026, 11, 20, 11, tzinfo=UTC)),
        ("2026-11-20T12:00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("0001-01-01", datetime(1970, 1, 2, tzinfo=UTC)),
        ("9999w", datetime(1970, 1, 2, tzinfo=UTC)),
        ("999999w", datetime(1970, 1, 2, tzinfo=UTC)),
    ],
)
def test_since_when_is_an_age_a_day_or_a_moment(text: str, expected: datetime) -> None:
    assert moments.since(text, NOW) == expected


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    try:
        assert moments.since(text, NOW).tzinfo is UTC
    except ValueError:
        return
