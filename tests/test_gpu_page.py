"""The page about GPUs: whatever can fail there has its row, and each row the test that proves what it costs."""

from __future__ import annotations

import pytest

from policies.catalogue import RULES
from tests.proofs import REPOSITORY, assert_proofs_exist, rows_below

PAGE = (REPOSITORY / "docs" / "gpu.md").read_text()
ROWS = rows_below("## What fails, and what it costs", PAGE)

FAULTS = (
    "a function that the driver lacks",
    "a figure that a GPU does not support",
    "a GPU is lost",
    "a GPU requires a reset",
    "a GPU is no longer listed",
    "no GPU is listed where there were some",
    "the library is lost",
    "driver and library do not match",
    "the driver is upgraded",
    "a call hangs",
    "the driver crashes its caller",
    "the reader is killed",
    "the reader is stuck in the kernel",
    "the daemon is killed",
    "no GPU, no driver or no library",
    "a PID namespace of our own",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_has_a_test_that_exists(row: tuple[str, ...]) -> None:
    fails, costs, proof = row
    assert fails
    assert costs
    assert_proofs_exist(proof)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_that_can_fail_is_forgotten(fault: str) -> None:
    assert [row for row in ROWS if row[0].startswith(fault)]


def test_nothing_stands_twice() -> None:
    fails = [row[0] for row in ROWS]
    assert sorted(set(fails)) == sorted(fails)


def test_the_page_leads_to_every_alert_about_gpus() -> None:
    about_gpus = {rule.name for rule in RULES if "gpu" in rule.name or rule.name == "nvml-unavailable"}
    assert {name for name in about_gpus if f"(alerts.md#{name})" not in PAGE} == set()
