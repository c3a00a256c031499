"""The page of the faults: each has its row, and each row the test that proves it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "reliability.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.partition("\n## Faults\n")[2].splitlines()
    if line.startswith("| ")
][1:]
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[[^`]*\])?`")

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


@cache
def proofs_in(file: str) -> frozenset[str]:
    """Give the names of the tests of a file, with their class before them; nothing is imported."""
    found = set()
    for node in ast.parse((REPOSITORY / file).read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):  # hypothesis' state machines: TestStories = Stories.TestCase
            found |= {f"{target.id}::runTest" for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith(("test", "runTest")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_fault_has_a_test_that_exists(row: tuple[str, ...]) -> None:
    fault, happens, proof = row
    assert fault
    assert happens
    named = TEST.findall(proof)
    assert named, "no test proves it"
    assert TEST.sub("", proof).strip(" ,") == "", "something else than tests is named"
    for file, name in named:
        assert (REPOSITORY / file).is_file(), file
        assert name in proofs_in(file), f"{file} has no {name}"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_forgotten(fault: str) -> None:
    assert [row for row in ROWS if row[0].startswith(fault)]


def test_no_fault_stands_twice() -> None:
    faults = [row[0] for row in ROWS]
    assert sorted(set(faults)) == sorted(faults)
