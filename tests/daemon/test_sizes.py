"""Sizes are read with their unit, or refused with the cure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import sizes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0B", 0), ("20GiB", 20 << 30), ("512MiB", 512 << 20), ("1GB", 10**9), ("1.5 kB", 1500), (" 2TiB ", 2 << 40)],
)
def test_a_size_has_one_binary_or_decimal_unit(text: str, expected: int) -> None:
    assert sizes.parse(text) == expected


@pytest.mark.parametrize("text", ["20", "", "20 apples", "1GiB 2MiB", "-1B", "20gib", "9" * 40 + "GiB", "٣GiB"])
def test_what_is_no_size_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ValueError, match="a size needs a unit"):
        sizes.parse(text)


@given(st.text() | st.from_regex(r"[0-9.]{0,9} ?[kKMGTiB]{0,4}", fullmatch=True))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        size_bytes = sizes.parse(text)
    except ValueError:
        return
    assert size_bytes >= 0


@given(count=st.integers(0, 1 << 20))
def test_a_written_size_reads_back(count: int) -> None:
    assert sizes.parse(f"{count}GiB") == count << 30
