"""The page of the faults: each has its row, and each row the test that proves it."""

from __future__ import annotations

import pytest

from tests.proof_tables import assert_proven, rows_below

ROWS = rows_below("docs/reliability.md", "## Faults")
FAULTS = (
    "engine SIGKILLed",
    "engine frozen",
    "engine restarted with live-restore",
    "engine restarted without live-restore",
    "engine upgraded in place",
    "socket accepts and never answers",
    "half a JSON event",
    "300 events in a gap",
    "10,000 events a second",
    "container recreated under one name",
    "socket proxy cuts streams",
    "state directory read-only",
    "state directory full",
    "state directory corrupt",
    "state directory newer",
    "port taken",
    "wall clock set by an hour",
    "wall clock forward a year",
    "Slack answers 429",
    "Slack answers 500",
    "Slack answers HTML",
    "Slack resets",
    "Slack says nothing for 6 h",
    "thread stalled",
    "Docker down for an hour",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_fault_has_a_test_that_exists(row: tuple[str, ...]) -> None:
    fault, happens, proof = row
    assert fault
    assert happens
    assert_proven(proof)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_forgotten(fault: str) -> None:
    assert [row for row in ROWS if row[0].startswith(fault)]


def test_no_fault_stands_twice() -> None:
    faults = [row[0] for row in ROWS]
    assert sorted(set(faults)) == sorted(faults)
