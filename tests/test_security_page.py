"""The page about security: each promise has the test that proves it."""

from __future__ import annotations

import pytest

from tests.proofs import REPOSITORY, assert_proofs_exist, rows_below

PAGE = (REPOSITORY / "docs" / "security.md").read_text()
HEADINGS = ("## Docker's socket is root", "## Who may ask", "## Secrets", "## Text that others write")
ROWS = [row for heading in HEADINGS for row in rows_below(heading, PAGE) if "tests/" in row[-1]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_promise_has_a_test_that_exists(row: tuple[str, ...]) -> None:
    assert_proofs_exist(row[-1])


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_chapter_proves_something(heading: str) -> None:
    assert any("tests/" in row[-1] for row in rows_below(heading, PAGE))
