"""Tables on the pages for people whose last column names the tests that prove each row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
_TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[[^`]*\])?`")


def rows_below(page: str, heading: str) -> list[tuple[str, ...]]:
    """Give the rows of the one table that follows this heading of a page, without the table's own."""
    section = (REPOSITORY / page).read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines][1:]


def assert_proven(proof: str) -> None:
    """Prove that a cell names tests, that it names nothing else, and that they exist."""
    named = _TEST.findall(proof)
    assert named, "no test proves it"
    assert _TEST.sub("", proof).strip(" ,") == "", "something else than tests is named"
    for file, name in named:
        assert (REPOSITORY / file).is_file(), file
        assert name in _proofs_in(file), f"{file} has no {name}"


@cache
def _proofs_in(file: str) -> frozenset[str]:
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
