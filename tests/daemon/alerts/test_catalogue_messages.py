"""The message of each alert in the catalogue as people read it: an example each stands in tests/golden/alerts."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.alerts.console import ConsoleSink
from daemon.alerts.message import compose
from daemon.alerts.slack_blocks import forms_of
from policies.catalogue import BY_NAME
from policies.policy import Condition, Occurrence
from tests.daemon.alerts.build import HOST, Story
from tests.daemon.alerts.catalogue import HOSTS, LONGEST_HOLD
from tests.lab import block_kit

if TYPE_CHECKING:
    from daemon.alerts.message import Message

GOLDEN = Path(__file__).parents[2] / "golden" / "alerts"


def example(alert: str) -> Message:
    """Let the policy look at its host until the alert is told, and give the message."""
    assert alert in HOSTS, f"{alert} has no example message: add a host for it to tests/daemon/alerts/catalogue.py"
    policy, world = HOSTS[alert]
    found = [each for each in policy.decide(world) if isinstance(each, Condition | Occurrence)]
    story = Story({name: BY_NAME[name] for name in policy.alerts})
    notices = [*story.step(*found).notices, *story.step(*found, after=LONGEST_HOLD.total_seconds()).notices]
    told = [notice for notice in notices if notice.state.alert == alert]
    assert told, f"{alert} is not told on its host"
    return compose([told[0].state], told[0].kind, HOST)


@pytest.mark.parametrize("alert", sorted(BY_NAME))
def test_each_alert_reads_as_its_example(alert: str) -> None:
    shown = example(alert)
    paper = io.StringIO()
    ConsoleSink(paper).send(shown)
    golden = GOLDEN / f"{alert}.txt"
    if os.environ.get("GOLDEN") == "write":  # to be read before it is committed
        golden.write_text(paper.getvalue())
    assert paper.getvalue() == golden.read_text()
    for form in forms_of(shown, here=True):
        assert block_kit.fault(form) == ""
        assert block_kit.foreign_markup(form) == []


def test_every_example_is_of_an_alert_that_there_is() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(HOSTS) == set(BY_NAME)
