"""The dashboards: they are what their sources say, ask for what there is, and say what they show."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.daemon.metrics_list import GOLDEN
from tests.dashboards import FILES, FOLDER, RECORDING, asks, choices, panels, read

if TYPE_CHECKING:
    from pathlib import Path

ALL = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
GRAFANA_10 = 38
"""The version of the form that Grafana 10.0 writes."""


def test_they_are_what_their_sources_say(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "source" / "build.py", tmp_path], check=True)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        file.name: file.read_text() for file in FILES
    }


@ALL
def test_what_they_ask_for_is_measured_or_recorded(file: Path) -> None:
    golden = "".join(page.read_text() for page in GOLDEN.values())
    there = set(re.findall(r"(?m)^([a-zA-Z_:]\w*)[{ ]", golden)) | OF_PROMETHEUS | OF_THE_PROCESS | recorded()
    dashboard = read(file)
    for ask in asks(dashboard, choices(dashboard)):
        assert metrics_in(ask.query) <= there, ask


def recorded() -> set[str]:
    """Give the names of the recording rules."""
    return {rule["record"] for group in yaml.safe_load(RECORDING.read_text())["groups"] for rule in group["rules"]}


def metrics_in(query: str) -> set[str]:
    """Give the metrics that a query names."""
    bare = re.sub(r'"[^"]*"|\b(?:by|on|group_left) \([^)]*\)', "", query)
    return set(re.findall(r"\b(?:\w+:)?(?:shipkeeper|container|process|scrape|DCGM)_[\w:]+|\bup\b", bare))


@ALL
def test_every_panel_says_what_it_shows_and_in_which_unit(file: Path) -> None:
    for panel in panels(read(file)):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@ALL
def test_panels_lie_beside_each_other_and_have_numbers_of_their_own(file: Path) -> None:
    dashboard = read(file)
    numbers = [panel["id"] for panel in (*dashboard["panels"], *panels(dashboard))]
    rows = [panel["id"] for panel in dashboard["panels"] if panel["type"] == "row"]
    shown = [panel["id"] for panel in panels(dashboard)]
    assert sorted(set(numbers)) == sorted(rows + shown)
    for one, other in combinations((panel["gridPos"] for panel in dashboard["panels"]), 2):
        assert not overlap(one, other), (one, other)


def overlap(one: Any, other: Any) -> bool:
    """Tell whether two panels share a place."""
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    return bool(across and down)


@ALL
def test_every_source_of_data_is_the_one_that_is_chosen(file: Path) -> None:
    dashboard = read(file)
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    for panel in panels(dashboard):
        for asking in (panel, *panel["targets"]):
            assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@ALL
def test_grafana_10_reads_it(file: Path) -> None:
    assert read(file)["schemaVersion"] >= GRAFANA_10


@ALL
def test_every_variable_is_used(file: Path) -> None:
    dashboard = read(file)
    text = file.read_text()
    for name in choices(dashboard):
        assert f"${name}" in text, name


def test_their_addresses_differ_and_are_the_ones_that_links_lead_to() -> None:
    addresses = [read(file)["uid"] for file in FILES]
    assert len(set(addresses)) == len(FILES)
    linked = set(re.findall(r'"url": "/d/([\w-]+)', "".join(file.read_text() for file in FILES)))
    assert linked <= set(addresses)
