"""Dates are not believed for as long as we have not watched them since the clock was set forward."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.clock_steps import ClockSteps
from daemon.sightings import Sightings

if TYPE_CHECKING:
    from daemon.store import Store
    from tests.fakes.clock import FakeClock

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Watching:
    """Steps of the clock over several lives of the daemon."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.begin()

    def begin(self) -> None:
        """Begin another life."""
        self.sightings = Sightings(self.store, self.clock)
        self.steps = ClockSteps(self.store, self.clock, lambda: self.sightings.watched)

    def restart(self) -> None:
        """End and begin again."""
        self.store.write(self.sightings.save)
        self.store.write(self.steps.save)
        self.begin()

    def ago(self, after: timedelta = timedelta(0)) -> timedelta | None:
        """Look, and give how long ago it was set forward."""
        self.clock.advance(after)
        self.steps.look()
        return self.steps.set_ago


def test_a_clock_that_nobody_sets_was_never_set(store: Store, clock: FakeClock) -> None:
    assert Watching(store, clock).ago(1000 * HOUR) is None


def test_a_step_forward_is_told_with_the_time_watched_since(store: Store, clock: FakeClock) -> None:
    watching = Watching(store, clock)
    clock.step(24 * HOUR)
    assert watching.ago() == timedelta(0)
    assert watching.ago(3 * HOUR) == 3 * HOUR


def test_a_step_back_makes_nothing_old_and_its_correction_does(store: Store, clock: FakeClock) -> None:
    watching = Watching(store, clock)
    clock.step(-24 * HOUR)
    assert watching.ago(HOUR) is None
    clock.step(24 * HOUR)
    assert watching.ago() == timedelta(0)


def test_what_a_time_server_corrects_is_no_step(store: Store, clock: FakeClock) -> None:
    watching = Watching(store, clock)
    clock.step(4 * MINUTE)
    assert watching.ago(HOUR) is None
    clock.step(4 * MINUTE)
    assert watching.ago() == timedelta(0), "small steps add up"


def test_it_is_remembered_and_a_step_in_our_absence_is_seen(store: Store, clock: FakeClock) -> None:
    watching = Watching(store, clock)
    clock.step(24 * HOUR)
    watching.ago()
    watching.restart()
    clock.advance(HOUR)
    assert watching.ago() == HOUR
    watching.store.write(watching.steps.save)
    clock.step(24 * HOUR)
    watching.restart()
    assert watching.ago() == timedelta(0)


def test_a_boot_is_no_step(store: Store, clock: FakeClock) -> None:
    watching = Watching(store, clock)
    watching.ago(HOUR)
    watching.store.write(watching.steps.save)
    clock.boot = "22222222-3333-4444-5555-666666666666"
    clock.step(HOUR)
    watching.begin()
    assert watching.ago(HOUR) is None
