"""Tables of a page whose last column names the tests that prove each row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
_TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[[^`]*\])?`")


def rows_below(heading: str, page: str) -> list[tuple[str, ...]]:
    """Give the rows of the tables between a heading and the next one of its level, without their head."""
    level = heading.partition(" ")[0]
    below = re.split(rf"^{level} ", page.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = below.splitlines()
    return [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not following.startswith("|--")
    ]


def assert_proofs_exist(cell: str) -> None:
    """Fail unless a cell names tests, nothing but tests, and each of them exists."""
    named = _TEST.findall(cell)
    assert named, "no test proves it"
    assert _TEST.sub("", cell).strip(" ,") == "", "something else than tests is named"
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
