from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies import words
from policies.catalogue import BY_NAME, RULES, AlertRule
from tests.daemon.alerts.triggers import TRIGGERS

if TYPE_CHECKING:
    from datetime import timedelta

RUNBOOK = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
GOLDEN = Path(__file__).parents[1] / "golden" / "alerts"
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]}
ROWS = {
    row[0]: row
    for row in re.findall(r"^\| \[([\w-]+)\]\(#\1\) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", RUNBOOK, re.MULTILINE)
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_runbook_says_of_each_alert_what_it_means_when_it_comes_and_how_to_silence_it(rule: AlertRule) -> None:
    for part in ("**Means:**", "**Comes**", "**Goes**", "**Silence:**"):
        assert part in SECTIONS[rule.name]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_runbooks_table_gives_the_catalogues_delays_and_folding(rule: AlertRule) -> None:
    _, _, fires, clears, folded = ROWS[rule.name]
    assert (fires, clears) == (delay(rule.hold), delay(rule.clear))
    assert folded == (", ".join(rule.folded_into) or "none")


def test_the_runbook_knows_no_alert_that_the_catalogue_does_not() -> None:
    assert set(SECTIONS) == set(ROWS) == set(BY_NAME)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_has_a_test_that_brings_it_about(rule: AlertRule) -> None:
    assert rule.name in TRIGGERS, f"name a test that brings {rule.name} about in tests/daemon/alerts/triggers.py"
    file, test = TRIGGERS[rule.name]
    text = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
    assert f"def {test}(" in text, f"{file} has no {test}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_message_of_each_alert_leads_to_its_section(rule: AlertRule) -> None:
    assert f"docs/alerts.md#{rule.name}\n" in (GOLDEN / f"{rule.name}.txt").read_text(encoding="utf-8")


def test_an_alert_is_folded_only_into_alerts_that_there_are() -> None:
    assert {name for rule in RULES for name in rule.folded_into} <= set(BY_NAME)


def test_toward_prometheus_the_names_are_in_camel_case() -> None:
    assert BY_NAME["container-oom-killed"].camel == "ContainerOomKilled"


def delay(span: timedelta) -> str:
    return words.duration(span) if span else "at once"
