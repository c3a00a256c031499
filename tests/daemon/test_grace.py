"""Nothing is removed by itself right after a start, an outage or a step of the clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import EngineState
from daemon.grace import Grace
from tests.fakes.clock import FakeClock
from tests.fakes.engine_view import FakeEngineView

MINUTE = timedelta(minutes=1)


class Host:
    """A clock, an engine and the grace that looks at both."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngineView()
        self.lasts = 15 * MINUTE
        self.grace = Grace(self.clock, self.engine, lambda: self.lasts)

    def after(self, span: timedelta) -> str:
        """Let time pass, look, and give what holds a removal up."""
        self.clock.advance(span)
        self.grace.look()
        return self.grace.holds()


@pytest.fixture
def host() -> Host:
    return Host()


def test_it_lasts_from_the_start_on(host: Host) -> None:
    assert host.grace.holds() == "Shipkeeper has just started: another 15 min of [cleanup] grace"
    assert host.after(14 * MINUTE).endswith("another 1 min of [cleanup] grace")
    assert host.after(MINUTE) == ""


def test_it_begins_anew_when_the_engine_is_up_again(host: Host) -> None:
    host.after(60 * MINUTE)
    host.engine.set(EngineState.HUNG)
    assert host.after(MINUTE)
    assert host.after(60 * MINUTE).startswith("the engine was away: another 15 min")
    host.engine.set(EngineState.UP)
    assert host.after(14 * MINUTE)
    assert host.after(MINUTE) == ""


def test_an_outage_too_short_to_be_looked_at_counts(host: Host) -> None:
    host.after(60 * MINUTE)
    host.engine.set(EngineState.CRASHED)
    host.engine.set(EngineState.UP)
    assert host.after(timedelta(0)).startswith("the engine was away")


@pytest.mark.parametrize("step", [6 * MINUTE, -6 * MINUTE, timedelta(days=365)])
def test_it_begins_anew_when_the_clock_is_set(host: Host, step: timedelta) -> None:
    host.after(60 * MINUTE)
    host.clock.step(step)
    assert host.after(timedelta(0)) == "the clock was set: another 15 min of [cleanup] grace"
    assert host.after(15 * MINUTE) == ""


def test_a_small_correction_of_the_clock_is_none(host: Host) -> None:
    host.after(60 * MINUTE)
    host.clock.step(4 * MINUTE)
    assert host.after(MINUTE) == ""


def test_many_small_corrections_are_one_large(host: Host) -> None:
    host.after(60 * MINUTE)
    for _ in range(2):
        host.clock.step(4 * MINUTE)
        held = host.after(MINUTE)
    assert held.startswith("the clock was set")


def test_a_changed_setting_counts_at_once(host: Host) -> None:
    host.lasts = MINUTE
    assert host.after(MINUTE) == ""
