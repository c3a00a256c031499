"""The rules for Prometheus: it takes them, each alert fires and keeps still where it should, and each has its entry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.xids import XIDS, Resolution
from tests.daemon.metrics_list import GOLDEN
from tests.lab.binaries import REPOSITORY, promtool

FOLDER = REPOSITORY / "deploy" / "prometheus"
RULES = sorted(FOLDER.glob("rules/*.yml"))
TESTS = sorted(Path(__file__).with_name("rules").glob("*.yml"))
PAGE = (REPOSITORY / "docs" / "prometheus.md").read_text()
DASHBOARDS = "".join(file.read_text() for file in REPOSITORY.glob("deploy/grafana/*.json"))
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "process_start_time_seconds"}


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Give the rules of a kind, `alert` or `record`, by name."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


def tool(*arguments: str | Path) -> str:
    """Run promtool and give what it printed; it has to be content."""
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration_and_its_rules() -> None:
    assert "2 rule files found" in tool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_where_they_should_and_nowhere_else(file: Path) -> None:
    tool("test", "rules", file)


def test_every_alert_is_among_those_that_are_tested() -> None:
    tested = "".join(file.read_text() for file in TESTS)
    assert [name for name in rules("alert") if not re.search(rf"\b{name}\b", tested)] == []


def test_every_alert_has_its_entry_and_points_to_it() -> None:
    for name, rule in rules("alert").items():
        assert f"\n### {name}\n" in PAGE, name
        assert rule["annotations"]["runbook"] == f"docs/prometheus.md#{name.lower()}"


def test_every_entry_is_of_an_alert() -> None:
    assert set(re.findall(r"^### (\w+)$", PAGE, flags=re.MULTILINE)) <= set(rules("alert"))


def test_the_page_tells_the_severity_of_each_alert() -> None:
    for name, rule in rules("alert").items():
        severity = rule["labels"]["severity"]
        assert f"| [{name}](#{name.lower()}) | {severity} |" in PAGE, name


def test_rules_ask_only_for_metrics_that_there_are() -> None:
    there = {name for page in GOLDEN.values() for name in re.findall(r"(?m)^([a-zA-Z_:]\w*)[{ ]", page.read_text())}
    recorded = rules("record")
    for rule in (*rules("alert").values(), *recorded.values()):
        asked = set(re.findall(r"[a-z_:]*shipkeeper_[\w:]+", rule["expr"]))
        assert asked <= there | OF_PROMETHEUS | set(recorded), asked - there


def test_what_is_recorded_is_asked_for() -> None:
    asked = DASHBOARDS + "".join(rule["expr"] for rule in rules("alert").values())
    assert [name for name in rules("record") if name not in asked] == []


def test_the_hardware_errors_of_a_gpu_are_those_of_nvidias_table() -> None:
    (listed,) = re.findall(r'xid=~"([\d|]+)"', rules("alert")["GpuFailsAgain"]["expr"])
    hardware = (Resolution.REBOOT, Resolution.RESET, Resolution.HARDWARE)
    assert {XIDS[int(code)].resolution in hardware for code in listed.split("|")} == {True}
