from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import durations, words
from tests.policies.build import NOW


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.0004, "0 s"),
        (0.041, "41 ms"),
        (0.44, "0.4 s"),
        (9, "9 s"),
        (90, "1 min 30 s"),
        (3605, "1 h"),
        (11520, "3 h 12 min"),
        (86400, "1 day"),
        (100_800, "1 day 4 h"),
        (8 * 86400, "8 days"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert words.duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (None, "size unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (12_240_656_794, "11.4 GiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_a_size_is_said_in_binary_units(size: int | None, said: str) -> None:
    assert words.size(size) == said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "exited 0 (clean exit)"),
        (137, "exited 137 (SIGKILL)"),
        (42, "exited 42 (error)"),
        (255, "exited 255 (error)"),
        (138, "exited 138 (signal 10)"),
        (None, "ended, exit code unknown"),
    ],
)
def test_an_exit_code_is_said_with_its_meaning(code: int | None, said: str) -> None:
    assert words.exit_code(code) == said


def test_a_number_of_things_agrees_with_its_noun() -> None:
    assert [words.count(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert words.count(2, "process", "processes") == "2 processes"


def test_a_moment_is_said_to_the_minute() -> None:
    assert words.moment(NOW) == "2026-11-23 16:02 UTC"


def test_text_that_could_move_the_cursor_or_reorder_a_line_is_shown_escaped() -> None:
    assert words.plain("a\x1b[31mb\nc\u202ed\u2028e") == r"a\x1b[31mb\nc\u202ed\u2028e"


@given(st.text())
def test_plain_text_is_printable_and_what_was_so_is_left_alone(text: str) -> None:
    shown = words.plain(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_of_at_most_its_limit(text: str, limit: int) -> None:
    line = words.one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1h30m", 5400), ("72H", 259_200), (" 30d ", 2_592_000), ("1.5h", 5400), ("1w", 604_800), ("0s", 0)],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: int) -> None:
    assert durations.parse(text) == timedelta(seconds=seconds)


@given(st.text(alphabet="0123456789.smhdw -", max_size=40))
def test_what_is_no_duration_is_refused_with_the_cure(text: str) -> None:
    try:
        span = durations.parse(text)
    except ValueError as error:
        assert text in str(error)  # noqa: PT017  either outcome is right; this one must quote the text
    else:
        assert span >= timedelta(0)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(0), "1 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=5, minutes=20), "5 h"),
        (timedelta(hours=47, minutes=10), "47 h"),
        (timedelta(days=12, hours=13), "13 days"),
    ],
)
def test_a_forecast_is_said_roughly(span: timedelta, said: str) -> None:
    assert words.about(span) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/var/lib/docker"), "/var/lib/docker: Permission denied"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (OSError("/x holds more than 2000 files"), "/x holds more than 2000 files"),
        (ValueError("I/O operation on closed file"), "I/O operation on closed file"),
    ],
)
def test_a_fault_of_the_system_is_said_without_its_number(error: Exception, said: str) -> None:
    assert words.fault(error) == said
