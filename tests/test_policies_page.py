"""The page of what is removed and what never: each row names the test that proves it."""

from __future__ import annotations

import pytest

from tests.proofs import REPOSITORY, assert_proofs_exist, rows_below

PAGE = (REPOSITORY / "docs" / "policies.md").read_text()
RULES = rows_below("## What is never removed", PAGE)
PITFALLS = rows_below("## Pitfalls", PAGE)


@pytest.mark.parametrize("row", RULES + PITFALLS, ids=lambda row: row[0])
def test_every_row_has_a_test_that_exists(row: tuple[str, ...]) -> None:
    pitfall, what, proof = row
    assert pitfall
    assert what
    assert_proofs_exist(proof)


def test_no_row_stands_twice() -> None:
    first = [row[0] for row in RULES + PITFALLS]
    assert sorted(set(first)) == sorted(first)


def test_there_are_rows() -> None:
    assert RULES
    assert PITFALLS
