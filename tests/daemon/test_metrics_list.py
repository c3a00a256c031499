from __future__ import annotations

import os
import re

import pytest

from collectors.engine_calls import ENDPOINTS
from daemon.counters import REASONS
from daemon.outcome import Outcome
from tests.daemon.metrics_list import PAGE, page

MEANINGS = PAGE.with_name("metrics.md")


def rows(text: str) -> dict[str, list[str]]:
    """Give the cells of each row of a table of metrics, by name."""
    found = [line.strip("|") for line in text.splitlines() if line.startswith("| `")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in found]
    return {cells[0].strip("`"): cells[1:] for cells in split}


def test_the_list_is_what_the_code_says() -> None:
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_the_page_of_meanings_has_the_type_and_the_unit_of_each() -> None:
    listed, explained = rows(page()), rows(MEANINGS.read_text())
    for name, (kind, unit, *_) in listed.items():
        assert explained[name][0] == kind, name
        assert not unit or unit in explained[name][1], name


def test_the_page_of_meanings_names_no_label_that_is_not_there_and_each_of_the_daemons_own() -> None:
    listed = {name: set(re.findall(r"\w+", cells[2])) for name, cells in rows(page()).items()}
    for name, (_, _, labels, *_) in rows(MEANINGS.read_text()).items():
        told = set(re.findall(r"\b[a-z_]+\b", labels.partition("label_")[0]))
        if "without" not in told:
            assert told <= listed[name], name


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("endpoint", {*ENDPOINTS, "other"}),
        ("reason", set(REASONS)),
        ("trigger", {"policy", "start"}),
        ("outcome", {each.value for each in Outcome} - {Outcome.UNKNOWN, Outcome.NOT_BEGUN}),  # those had no turn
    ],
)
def test_the_page_of_meanings_names_every_value_of_a_label(label: str, values: set[str]) -> None:
    [told] = re.findall(rf"`{label}` is (?:one of )?(.+?)\.(?:\s|$)|\Z", MEANINGS.read_text(), flags=re.DOTALL)[:1]
    assert values <= set(re.findall(r"`(\w+)`", told))


def test_every_metric_says_what_it_is() -> None:
    assert [name for name, cells in rows(page()).items() if not cells[-1].endswith(".")] == []
