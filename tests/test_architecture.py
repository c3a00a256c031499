from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.app import DEADLINES

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
ROOMS = ("collectors", "policies", "daemon")
MODULE = re.compile(r"`([\w/]+\.py)`")


def section(heading: str) -> str:
    """Give the text below a heading, up to the next one of its level or higher."""
    level = heading.partition(" ")[0]
    below = PAGE.split(f"\n{heading}\n", maxsplit=1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def modules(room: str) -> set[str]:
    folder = REPOSITORY / room
    return {str(file.relative_to(folder)) for file in folder.rglob("*.py") if file.name != "__init__.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_its_place_on_the_page_and_the_other_way_round(room: str) -> None:
    named = MODULE.findall(section(f"### `{room}/`"))
    assert sorted(named) == sorted(modules(room))


def test_every_module_that_the_page_speaks_of_exists() -> None:
    known = set().union(*(modules(room) | {f"{room}/{module}" for module in modules(room)} for room in ROOMS))
    assert set(MODULE.findall(PAGE)) <= known


def test_the_heartbeats_of_the_threads_are_the_ones_that_the_daemon_demands() -> None:
    rows = re.findall(r"^\| (\w+)[^|]*(?:\|[^|]*){2}\| (\d+) s \|$", section("## Threads"), flags=re.MULTILINE)
    assert {thread: timedelta(seconds=int(seconds)) for thread, seconds in rows} == DEADLINES


def test_every_table_of_the_store_has_its_owner_on_the_page() -> None:
    schema = (REPOSITORY / "daemon" / "schema.py").read_text()
    rows = re.findall(r"^\| (`.*?) \| `", section("## The store"), flags=re.MULTILINE)
    named = {table for row in rows for table in re.findall(r"`(\w+)`", row)}
    assert named == set(re.findall(r"CREATE TABLE (\w+)", schema))
