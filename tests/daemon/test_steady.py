from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon import steady
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from daemon.store import Store

MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR, YEAR, -YEAR])


def test_it_begins_as_the_wall_clock_stands(store: Store, clock: FakeClock) -> None:
    assert steady.load(store, clock).now() == NOW


@STEPS
def test_no_step_of_the_wall_clock_moves_it(store: Store, clock: FakeClock, step: timedelta) -> None:
    time = steady.load(store, clock)
    clock.advance(MINUTE)
    clock.step(step)
    assert time.now() == NOW + MINUTE
    assert time.of_wall(clock.now() - MINUTE) == NOW
    assert time.to_wall(NOW) == clock.now() - MINUTE


@STEPS
def test_a_restart_on_the_same_boot_finds_it_where_it_would_be(store: Store, clock: FakeClock, step: timedelta) -> None:
    store.write(steady.load(store, clock).save)
    clock.step(step)
    clock.advance(MINUTE)
    assert steady.load(store, clock).now() == NOW + MINUTE


@pytest.mark.parametrize(("away", "passed"), [(HOUR, HOUR), (-HOUR, timedelta(0))])
def test_across_a_boot_it_follows_the_wall_clock_but_never_back(
    store: Store, clock: FakeClock, away: timedelta, passed: timedelta
) -> None:
    store.write(steady.load(store, clock).save)
    clock.boot = "another"
    clock.step(away)
    assert steady.load(store, clock).now() == NOW + passed
