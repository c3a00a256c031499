"""Ten thousand events a second: every death counts, and the daemon stays small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.clock import SystemClock
from tests.integration.daemon_under_test import DaemonUnderTest, deaths
from tests.lab.flood import Flood
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from tests.lab.slack import FakeSlack

PER_SECOND = 10_000
MOST_GROWTH_MIB = 64
"""The queue and the events of one cycle are ten thousand each, of about a kilobyte."""


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(300)])], ids=["3 s", "30 s"]
)
def test_every_death_in_a_flood_is_counted_once(slack: FakeSlack, tmp_path: Path, seconds: int) -> None:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        engine.now = SystemClock().now()
        flood = Flood(engine)
        with DaemonUnderTest(tmp_path, engine, slack) as keeper:
            before = resident_mib(keeper.pid)
            engine.now = SystemClock().now()
            engine.pour(flood.events(PER_SECOND * seconds), PER_SECOND)
            engine.now = max(engine.now, SystemClock().now())
            wait_until(lambda: deaths(keeper) == flood.deaths, "every death to be counted", 60)
            assert resident_mib(keeper.pid) - before < MOST_GROWTH_MIB
            keeper.wait_for("container-restart-loop", "looping")
            said = keeper.log.read_text()
            dropped = sample(keeper.metrics(), "shipkeeper_events_dropped_total")
            overflows = sample(keeper.metrics(), "shipkeeper_event_queue_overflows_total")
            assert said.count("Docker sends more events than can be kept") == (dropped > 0) == (overflows > 0)
            assert ("found later" in said) or not dropped
            assert sample(keeper.metrics(), "shipkeeper_cycle_failures_total") == 0


def sample(page: str, name: str) -> float:
    [value] = re.findall(rf"(?m)^{name} (\S+)", page)
    return float(value)


def resident_mib(pid: int) -> float:
    [kilobytes] = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024
