"""Durations and sizes are read with their units, or refused with the cure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.units import duration, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("72h", timedelta(hours=72)),
        ("30d", timedelta(days=30)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30min", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        ("500ms", timedelta(milliseconds=500)),
        ("1.5h", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0B", 0), ("20GiB", 20 << 30), ("512MiB", 512 << 20), ("1GB", 10**9), ("1.5 kB", 1500), ("2TiB", 2 << 40)],
)
def test_a_size_has_one_binary_or_decimal_unit(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    "text", ["30", "", " ", "h", "-3h", "3 fortnights", "1h30", "1e3s", "٣h", "nan s", "9" * 40 + "d"]
)
def test_what_is_no_duration_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize("text", ["20", "", "20 apples", "1GiB 2MiB", "-1B", "20gib", "9" * 40 + "GiB"])
def test_what_is_no_size_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        size(text)


@given(st.text())
def test_any_text_is_either_read_or_refused(text: str) -> None:
    for read in (duration, size):
        try:
            read(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  both outcomes are right; only another exception would be wrong


@given(days=st.integers(0, 1000), hours=st.integers(0, 1000), seconds=st.integers(0, 100_000))
def test_a_written_duration_reads_back(days: int, hours: int, seconds: int) -> None:
    assert duration(f"{days}d{hours}h{seconds}s") == timedelta(days=days, hours=hours, seconds=seconds)


@given(count=st.integers(0, 1 << 20))
def test_a_written_size_reads_back(count: int) -> None:
    assert size(f"{count}GiB") == count << 30
